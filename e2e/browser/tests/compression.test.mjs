// permessage-deflate between the hub and clients that nobody here wrote: Node's ws, and Chromium.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';
import { launch } from '../browser.mjs';
import { HubPage } from '../hub-page.mjs';
import { Hub } from '../hub.mjs';
import { until } from '../product.mjs';

const long = 'what repeats itself is short on the wire; '.repeat(100);
const lines = Array.from({ length: 20 }, (_, n) => ({ n, text: long.slice(0, 40 * n) }));

let compressing, plain, browser;
before(async () => {
    const compression = { websocket: { compression: true, compression_min_size: 128 } };
    [compressing, plain, browser] = await Promise.all([Hub.start(compression), Hub.start(), launch()]);
});
after(async () => {
    await browser?.close();
    await Promise.all([compressing?.stop(), plain?.stop()]);
});

/** The official client over `ws`, subscribed: what it heard, and its sockets. */
async function subscribed(t, hub, channel, deflate = true) {
    const sockets = [];
    class Watched extends WebSocket {
        constructor(address, protocols) {
            super(address, protocols, { perMessageDeflate: deflate });
            this.once('upgrade', ({ socket }) => (this.wire = socket));
            sockets.push(this);
        }
    }
    const client = new Centrifuge(hub.websocket, { websocket: Watched, getToken: async () => hub.token({ sub: 'alice' }) });
    t.after(() => client.disconnect());
    const subscription = client.newSubscription(channel);
    const heard = [];
    subscription.on('publication', ({ data }) => heard.push(data));
    subscription.subscribe();
    client.connect();
    await subscription.ready(10_000);
    return { subscription, heard, sockets };
}

test('a client that offers it hears everything, in fewer bytes, and may compress what it says', async (t) => {
    const { subscription, heard, sockets } = await subscribed(t, compressing, 'chat:deflate');
    assert.equal(sockets[0].extensions, 'permessage-deflate');
    for (const line of lines) await compressing.call('publish', { channel: 'chat:deflate', data: line });
    await until(() => heard.length === lines.length, 'every line');
    assert.deepEqual(heard, lines);
    const before = sockets[0].wire.bytesRead;
    const [sent, { length }] = [sockets[0].wire.bytesWritten, long];
    await subscription.publish(long);
    await until(() => heard.length === lines.length + 1, 'the long one');
    assert.equal(heard.at(-1), long);
    const { bytesRead, bytesWritten } = sockets[0].wire;
    assert.ok(bytesRead - before < length / 10, `${bytesRead - before} bytes came`);
    assert.ok(bytesWritten - sent < length / 10, `${bytesWritten - sent} bytes went`);
});

test('a client that does not offer it, and a hub that is not set to it, go without', async (t) => {
    const silent = await subscribed(t, compressing, 'chat:silent', false);
    const refused = await subscribed(t, plain, 'chat:silent');
    for (const [{ heard, sockets }, hub] of [[silent, compressing], [refused, plain]]) {
        assert.equal(sockets[0].extensions, '');
        const before = sockets[0].wire.bytesRead;
        await hub.call('publish', { channel: 'chat:silent', data: long });
        await until(() => heard.length === 1, 'the publication');
        assert.equal(heard[0], long);
        assert.ok(sockets[0].wire.bytesRead - before > long.length);
    }
});

test('Chromium negotiates it by itself, if the hub does', async (t) => {
    for (const [hub, expected] of [[compressing, /^permessage-deflate/], [plain, /^$/]]) {
        const here = await HubPage.open(t, browser);
        const options = { token: hub.token({ sub: 'carol' }), channel: 'chat:chromium' };
        await here.subscribe([{ transport: 'websocket', endpoint: hub.websocket }], options);
        assert.match((await here.extensions())[0], expected);
        for (const line of lines) await hub.call('publish', { channel: 'chat:chromium', data: line });
        await here.publish(long);
        assert.deepEqual((await here.hears(lines.length + 1)).data, [...lines, long]);
    }
});
