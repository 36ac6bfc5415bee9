// A page of another origin in Chromium that uses the hub with the official client, unmodified, over a way that can be cut.
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { until } from './product.mjs';

const sdk = readFileSync(new URL('node_modules/centrifuge/dist/centrifuge.js', import.meta.url));
const html = '<!doctype html><meta charset="utf-8"><title>Somebody else’s page</title><script src="/centrifuge.js"></script>';

async function listening(server) {
    await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
    return server.address().port;
}

/** A way to a port that can be cut, and is mended. */
export class Way {
    #sockets = new Set();
    #whole = true;
    #server;

    static async to(port) {
        const way = new Way();
        way.#server = createServer((near) => {
            if (!way.#whole) return near.destroy();
            const far = connect(port, '127.0.0.1');
            for (const socket of [near, far]) {
                way.#sockets.add(socket);
                socket.on('error', () => {});
                socket.once('close', () => (way.#sockets.delete(socket), near.destroy(), far.destroy()));
            }
            near.pipe(far).pipe(near);
        });
        way.port = await listening(way.#server);
        return way;
    }

    cut() {
        this.#whole = false;
        this.#sockets.forEach((socket) => socket.destroy());
    }

    mend() {
        this.#whole = true;
    }

    close() {
        this.cut();
        this.#server.close();
    }
}

/** The page. It has one client, with one subscription. */
export class HubPage {
    static async open(t, browser) {
        const server = createHttpServer((request, response) => {
            const script = request.url === '/centrifuge.js';
            response.setHeader('content-type', script ? 'text/javascript' : 'text/html').end(script ? sdk : html);
        });
        const origin = `http://127.0.0.1:${await listening(server)}`;
        const context = await browser.newContext();
        t.after(async () => (await context.close(), server.close()));
        const here = new HubPage();
        here.page = await context.newPage();
        await here.page.goto(origin);
        return here;
    }

    /** Connects, and subscribes to `channel`. */
    async subscribe(transports, { token, channel, ...options }) {
        await this.page.evaluate(([transports, token, channel, options]) => {
            globalThis.sockets = [];
            class Watched extends WebSocket {
                constructor(...all) {
                    super(...all);
                    globalThis.sockets.push(this);
                }
            }
            const delays = { minReconnectDelay: 50, maxReconnectDelay: 500 };
            const client = new globalThis.Centrifuge(transports, { ...delays, ...options, websocket: Watched, getToken: async () => token });
            const heard = { transports: [], contexts: [], data: [], offsets: [], publishers: [], end: null };
            client.on('connected', ({ transport }) => heard.transports.push(transport));
            client.on('disconnected', ({ code }) => (heard.end = code));
            const subscription = client.newSubscription(channel);
            subscription.on('subscribed', ({ wasRecovering, recovered }) => heard.contexts.push({ wasRecovering, recovered }));
            subscription.on('publication', ({ data, offset, info }) => {
                heard.data.push(data);
                heard.offsets.push(offset);
                heard.publishers.push(info?.user ?? null);
            });
            Object.assign(globalThis, { client, subscription, heard });
            subscription.subscribe();
            client.connect();
            return subscription.ready(20_000);
        }, [transports, token, channel, options]);
    }

    heard() {
        return this.page.evaluate(() => globalThis.heard);
    }

    /** Waits until so many publications have been heard. */
    async hears(count) {
        await until(async () => (await this.heard()).data.length >= count, `${count} publications`);
        return this.heard();
    }

    publish(data) {
        return this.page.evaluate((data) => globalThis.subscription.publish(data).then(() => {}), data);
    }

    /** The users who are there. */
    async present() {
        const users = await this.page.evaluate(async () => {
            const { clients } = await globalThis.subscription.presence();
            return Object.values(clients).map(({ user }) => user);
        });
        return users.sort();
    }

    /** What was negotiated for each WebSocket. */
    extensions() {
        return this.page.evaluate(() => globalThis.sockets.map(({ extensions }) => extensions));
    }
}
