// The product as a user starts it: `roomcast demo` on a database of its own, killed and started again at will.
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Program } from './program.mjs';

// The embedded PostgreSQL of a root process runs as another user, who cannot look into a private TMPDIR.
const scratch = process.getuid?.() === 0 ? '/var/tmp' : tmpdir();

export class Product {
    #directory = mkdtempSync(join(scratch, 'roomcast-e2e-'));
    #program;

    static async start() {
        const product = new Product();
        chmodSync(product.#directory, 0o755);
        product.#program = await Program.of('demo', '--data-dir', join(product.#directory, 'data'));
        await product.start();
        return product;
    }

    get origin() {
        return this.#program.origin;
    }

    get websocket() {
        return this.#program.websocket;
    }

    async start() {
        await this.#program.start();
    }

    /** kill -9; the embedded PostgreSQL goes with it. */
    async kill() {
        await this.#program.end('SIGKILL');
    }

    /** Ctrl-C, and everything it wrote is removed. */
    async stop() {
        await this.#program.end('SIGINT');
        rmSync(this.#directory, { recursive: true, force: true });
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
