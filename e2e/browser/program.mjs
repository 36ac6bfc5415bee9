// One process of the program: started until it says that it is ready, ended by a signal, started again on the same port.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const executable = process.env.ROOMCAST_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'debug', 'roomcast');

async function freePort() {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((listening) => server.once('listening', listening));
    const { port } = server.address();
    await new Promise((closed) => server.close(closed));
    return port;
}

/** What runs now: nothing of it outlives the tests, however they end. */
const running = new Set();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

export class Program {
    #args;
    #process;
    #log = '';

    /** `roomcast <role>` with these arguments, on a free port. It does not run yet. */
    static async of(role, ...args) {
        const program = new Program();
        program.port = await freePort();
        program.#args = [role, '--listen', `127.0.0.1:${program.port}`, ...args];
        return program;
    }

    get origin() {
        return `http://127.0.0.1:${this.port}`;
    }

    get websocket() {
        return `ws://127.0.0.1:${this.port}/connection/websocket`;
    }

    async start() {
        this.#process = spawn(executable, this.#args, { stdio: ['ignore', 'pipe', 'pipe'] });
        running.add(this.#process);
        this.#process.stderr.on('data', (text) => (this.#log += text));
        const readyLine = new RegExp(`is ready at \\w+://127\\.0\\.0\\.1:${this.port}\\b`);
        await new Promise((ready, failed) => {
            this.#process.stdout.on('data', (text) => {
                this.#log += text;
                if (readyLine.test(this.#log)) ready();
            });
            this.#process.once('exit', (code) => failed(new Error(`roomcast ${this.#args[0]} ended with ${code}:\n${this.#log}`)));
        });
        this.#log = '';
    }

    async end(signal) {
        const ended = new Promise((exit) => this.#process.once('exit', exit));
        this.#process.kill(signal);
        await ended;
        running.delete(this.#process);
    }
}
