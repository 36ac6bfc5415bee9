// The hub alone, without WebSocket: the official client in Chromium, on a page of another origin, over a way that is cut.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from '../browser.mjs';
import { HubPage, Way } from '../hub-page.mjs';
import { Hub } from '../hub.mjs';
import { until } from '../product.mjs';

let hub, browser;
before(async () => ([hub, browser] = await Promise.all([Hub.start(), launch()])));
after(async () => {
    await browser?.close();
    await hub?.stop();
});

for (const transport of ['http_stream', 'sse']) {
    test(`${transport}: connect, publish, presence, recovery after a cut, and the end`, async (t) => {
        const way = await Way.to(hub.port);
        t.after(() => way.close());
        const origin = `http://127.0.0.1:${way.port}`;
        const channel = `chat:${transport}`;
        const here = await HubPage.open(t, browser);
        const token = hub.token({ sub: transport });
        const options = { token, channel, emulationEndpoint: `${origin}/emulation` };
        await here.subscribe([{ transport, endpoint: `${origin}/connection/${transport}` }], options);

        await here.publish({ text: 'said in a request' });
        await hub.call('publish', { channel, data: 'from the server' });
        const { transports, data, publishers } = await here.hears(2);
        assert.deepEqual(transports, [transport]);
        assert.deepEqual(data, [{ text: 'said in a request' }, 'from the server']);
        assert.deepEqual(publishers, [transport, null]);
        assert.deepEqual(await here.present(), [transport]);

        way.cut();
        await until(async () => (await hub.call('presence_stats', { channel })).result.num_clients === 0, 'the hub has noticed');
        for (let n = 1; n <= 3; n++) await hub.call('publish', { channel, data: n });
        way.mend();
        const heard = await here.hears(5);
        assert.deepEqual(heard.data.slice(2), [1, 2, 3]);
        assert.deepEqual(heard.offsets, [1, 2, 3, 4, 5]);
        assert.deepEqual(heard.contexts.at(-1), { wasRecovering: true, recovered: true });
        assert.equal(heard.transports.at(-1), transport);
        await here.publish('still here');
        await here.hears(6);

        await hub.call('disconnect', { user: transport });
        await until(async () => (await here.heard()).end !== null, 'the end');
        assert.equal((await here.heard()).end, 3503);
    });
}

test('where WebSocket is broken on the way, the client takes what gets through', async (t) => {
    const here = await HubPage.open(t, browser);
    const transports = [
        { transport: 'websocket', endpoint: `${hub.origin.replace('http', 'ws')}/nothing/here` },
        { transport: 'http_stream', endpoint: `${hub.origin}/connection/http_stream` },
    ];
    const options = { token: hub.token({ sub: 'erin' }), channel: 'chat:fallback', emulationEndpoint: `${hub.origin}/emulation` };
    await here.subscribe(transports, options);
    await here.publish('through');
    const { transports: taken, data } = await here.hears(1);
    assert.deepEqual([taken, data], [['http_stream'], ['through']]);
});
