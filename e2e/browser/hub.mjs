// A hub that knows nothing but its configuration, killed and started again at will.
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Program } from './program.mjs';

const secret = 'the secret of the conformance tests';
const key = 'the key of the conformance tests';

/** What most tests need: `chat` has everything, `guarded` is for those with a token. */
const everything = {
    history_size: 100,
    history_ttl: '10m',
    force_recovery: true,
    presence: true,
    join_leave: true,
    allow_publish_for_subscriber: true,
    allow_history_for_subscriber: true,
    allow_presence_for_subscriber: true,
};

export class Hub {
    #directory = mkdtempSync(join(tmpdir(), 'roomcast-hub-'));
    #program;

    /** With more in its configuration, if need be. */
    static async start(more = {}) {
        const hub = new Hub();
        const config = {
            client: { token: { hmac_secret_key: secret }, expired_close_delay: '5s', expired_sub_close_delay: '5s' },
            http_api: { key },
            channel: {
                namespaces: [
                    { name: 'chat', allow_subscribe_for_client: true, ...everything },
                    { name: 'guarded', ...everything },
                ],
            },
            ...more,
        };
        const file = join(hub.#directory, 'hub.json');
        writeFileSync(file, JSON.stringify(config));
        hub.#program = await Program.of('hub', '--hub-config', file);
        await hub.start();
        return hub;
    }

    get port() {
        return this.#program.port;
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

    async kill() {
        await this.#program.end('SIGKILL');
    }

    async stop() {
        await this.kill();
        rmSync(this.#directory, { recursive: true, force: true });
    }

    /** A call of the server API. */
    async call(method, body) {
        const headers = { 'content-type': 'application/json', 'x-api-key': key };
        const answer = await fetch(`${this.origin}/api/${method}`, { method: 'POST', headers, body: JSON.stringify(body) });
        if (!answer.ok) throw new Error(`${method}: ${answer.status} ${await answer.text()}`);
        return answer.json();
    }

    /** A signed token that lives this many seconds. */
    token(claims, seconds = 600) {
        const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
        const all = { exp: Math.floor(Date.now() / 1000) + seconds, ...claims };
        const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(all)}`;
        return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
    }
}
