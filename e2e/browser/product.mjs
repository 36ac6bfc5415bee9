// The product as a user starts it: `roomcast demo` on a database of its own, killed and started again at will.
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
export const executable = process.env.ROOMCAST_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'debug', 'roomcast');
// The embedded PostgreSQL of a root process runs as another user, who cannot look into a private TMPDIR.
const scratch = process.getuid?.() === 0 ? '/var/tmp' : tmpdir();

export async function freePort() {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((listening) => server.once('listening', listening));
    const { port } = server.address();
    await new Promise((closed) => server.close(closed));
    return port;
}

/** What runs now: nothing of it outlives the tests, however they end. */
export const running = new Set();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

export class Product {
    #directory = mkdtempSync(join(scratch, 'roomcast-e2e-'));
    #process;
    #log = '';

    static async start() {
        const product = new Product();
        chmodSync(product.#directory, 0o755);
        product.port = await freePort();
        await product.start();
        return product;
    }

    get origin() {
        return `http://127.0.0.1:${this.port}`;
    }

    get websocket() {
        return `ws://127.0.0.1:${this.port}/connection/websocket`;
    }

    async start() {
        const args = ['demo', '--listen', `127.0.0.1:${this.port}`, '--data-dir', join(this.#directory, 'data')];
        this.#process = spawn(executable, args, { stdio: ['ignore', 'pipe', 'pipe'] });
        running.add(this.#process);
        this.#process.stderr.on('data', (text) => (this.#log += text));
        await new Promise((ready, failed) => {
            this.#process.stdout.on('data', (text) => {
                this.#log += text;
                if (this.#log.includes(`is ready at ${this.origin}`)) ready();
            });
            this.#process.once('exit', (code) => failed(new Error(`roomcast ended with ${code}:\n${this.#log}`)));
        });
        this.#log = '';
    }

    /** kill -9; the embedded PostgreSQL goes with it. */
    async kill() {
        await this.#end('SIGKILL');
    }

    /** Ctrl-C, and everything it wrote is removed. */
    async stop() {
        await this.#end('SIGINT');
        rmSync(this.#directory, { recursive: true, force: true });
    }

    async #end(signal) {
        const ended = new Promise((exit) => this.#process.once('exit', exit));
        this.#process.kill(signal);
        await ended;
        running.delete(this.#process);
    }

    /** Signs one of the demo's people in over HTTP. */
    async signIn(username) {
        const answer = await fetch(`${this.origin}/api/login`, {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify({ username, password: 'roomcast' }),
        });
        if (!answer.ok) throw new Error(`${username} could not sign in: ${answer.status} ${await answer.text()}`);
        const cookie = answer.headers.getSetCookie()[0].split(';')[0];
        return new Person(this.origin, cookie, (await answer.json()).user);
    }
}

class Person {
    constructor(origin, cookie, user) {
        Object.assign(this, { origin, cookie, user });
    }

    async call(method, path, body) {
        const answer = await fetch(this.origin + path, {
            method,
            headers: { cookie: this.cookie, ...(body && { 'content-type': 'application/json' }) },
            body: body && JSON.stringify(body),
        });
        if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
        return answer.status === 204 ? undefined : answer.json();
    }

    token() {
        return this.call('GET', '/api/token').then(({ token }) => token);
    }

    createRoom(name) {
        return this.call('POST', '/api/rooms', { name });
    }

    say(room, text) {
        return this.call('POST', `/api/rooms/${room}/messages`, { text, client_id: crypto.randomUUID() });
    }

    /** The whole timeline, oldest first. */
    async timeline(room) {
        const lines = [];
        for (let before = ''; ; before = `&before=${lines[0].version}`) {
            const page = await this.call('GET', `/api/rooms/${room}/messages?limit=100${before}`);
            lines.unshift(...page.messages);
            if (!page.has_more) return lines;
        }
    }
}

/** Waits until `fact()` is truthy, and returns it. */
export async function until(fact, what, patience = 30_000) {
    for (const end = Date.now() + patience; Date.now() < end; ) {
        const value = await fact();
        if (value) return value;
        await new Promise((later) => setTimeout(later, 20));
    }
    throw new Error(`not within ${patience} ms: ${what}`);
}
