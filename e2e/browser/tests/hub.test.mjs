// The hub alone, with the official JavaScript client, unmodified: what docs/protocol.md says was run.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';
import { Hub } from '../hub.mjs';
import { until } from '../product.mjs';

let hub;
const clients = [];
before(async () => (hub = await Hub.start()));
afterEach(() => clients.splice(0).forEach((client) => client.disconnect()));
after(() => hub.stop());

function client(user, options = {}) {
    const made = new Centrifuge(hub.websocket, {
        websocket: WebSocket,
        getToken: async () => hub.token({ sub: user, info: { name: user } }),
        minReconnectDelay: 50,
        maxReconnectDelay: 500,
        ...options,
    });
    clients.push(made);
    return made;
}

/** A subscribed subscription, with what it heard. */
async function subscribed(client, channel, options = {}) {
    const subscription = client.newSubscription(channel, options);
    const heard = { subscription, data: [], offsets: [], joins: [], leaves: [], contexts: [] };
    subscription.on('publication', ({ data, offset }) => (heard.data.push(data), heard.offsets.push(offset)));
    subscription.on('join', ({ info }) => heard.joins.push(info.user));
    subscription.on('leave', ({ info }) => heard.leaves.push(info.user));
    subscription.on('subscribed', (context) => heard.contexts.push(context));
    subscription.subscribe();
    client.connect();
    await subscription.ready(10_000);
    return heard;
}

test('connect, subscribe, publish: everybody hears it, and who it was', async () => {
    const alice = await subscribed(client('alice'), 'chat:hello');
    const bob = await subscribed(client('bob'), 'chat:hello');
    const heard = new Promise((publication) => bob.subscription.once('publication', publication));
    await alice.subscription.publish({ text: 'hi' });
    const { data, info, offset } = await heard;
    assert.deepEqual([data, info.user, info.connInfo, offset], [{ text: 'hi' }, 'alice', { name: 'alice' }, 1]);
    await hub.call('publish', { channel: 'chat:hello', data: 'from the server' });
    await until(() => alice.data.length === 2, 'the second');
    assert.deepEqual(alice.data, [{ text: 'hi' }, 'from the server']);
});

test('presence, its numbers, and who comes and goes', async () => {
    const alice = await subscribed(client('alice'), 'chat:here', { joinLeave: true });
    const other = client('bob');
    await subscribed(other, 'chat:here');
    await until(() => alice.joins.includes('bob'), 'his coming');
    const { clients } = await alice.subscription.presence();
    assert.deepEqual(Object.values(clients).map(({ user }) => user).sort(), ['alice', 'bob']);
    assert.deepEqual(await alice.subscription.presenceStats(), { numClients: 2, numUsers: 2 });
    other.disconnect();
    await until(() => alice.leaves.includes('bob'), 'his going');
    await until(async () => (await alice.subscription.presenceStats()).numClients === 1, 'one is left');
});

test('history in pages and in reverse', async () => {
    const alice = await subscribed(client('alice'), 'chat:history');
    for (let n = 1; n <= 5; n++) await alice.subscription.publish(n);
    const top = await alice.subscription.history();
    assert.deepEqual([top.publications, top.offset], [[], 5]);
    const page = await alice.subscription.history({ limit: 2, since: { offset: 2, epoch: top.epoch } });
    assert.deepEqual(page.publications.map(({ data }) => data), [3, 4]);
    const back = await alice.subscription.history({ limit: 2, reverse: true });
    assert.deepEqual(back.publications.map(({ data }) => data), [5, 4]);
    await assert.rejects(alice.subscription.history({ limit: 1, since: { offset: 1, epoch: 'other' } }), { code: 112 });
});

test('what was missed while the connection was away is recovered', async () => {
    const away = client('alice');
    const heard = await subscribed(away, 'chat:recover');
    for (let n = 1; n <= 3; n++) await hub.call('publish', { channel: 'chat:recover', data: n });
    await until(() => heard.data.length === 3, 'the first three');
    away.disconnect();
    for (let n = 4; n <= 9; n++) await hub.call('publish', { channel: 'chat:recover', data: n });
    away.connect();
    await until(() => heard.data.length === 9, 'the rest');
    assert.deepEqual(heard.data, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.deepEqual(heard.offsets, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.deepEqual([heard.contexts[1].wasRecovering, heard.contexts[1].recovered], [true, true]);
});

test('after a restart the client is back by itself and is told that the past is lost', async () => {
    const heard = await subscribed(client('alice'), 'chat:restart');
    await hub.call('publish', { channel: 'chat:restart', data: 'before' });
    await until(() => heard.data.length === 1, 'the first');
    await hub.kill();
    await hub.start();
    await until(() => heard.contexts.length === 2, 'the client is back');
    assert.deepEqual([heard.contexts[1].wasRecovering, heard.contexts[1].recovered], [true, false]);
    await hub.call('publish', { channel: 'chat:restart', data: 'after' });
    await until(() => heard.data.at(-1) === 'after', 'the second');
});

test('a channel for those with a token: subscribe, refresh, and the end without one', async () => {
    const alice = client('alice');
    let asked = 0;
    const getToken = async () => hub.token({ sub: 'alice', channel: 'guarded:1' }, (asked += 1) === 1 ? 2 : 600);
    const heard = await subscribed(alice, 'guarded:1', { getToken });
    await until(() => asked === 2, 'a second token');
    const over = Date.now() + 8000;
    await until(() => Date.now() > over, 'the first token and its grace are over');
    await hub.call('publish', { channel: 'guarded:1', data: 'still here' });
    await until(() => heard.data.length === 1, 'the publication');
    assert.equal(heard.contexts.length, 1, 'one subscription all the time');

    const refused = alice.newSubscription('guarded:2');
    const end = new Promise((unsubscribed) => refused.once('unsubscribed', unsubscribed));
    refused.subscribe();
    assert.equal((await end).code, 103);
});

test('a connection token is refreshed, and a refused one ends the connection', async () => {
    let asked = 0;
    const refreshing = client('alice', { getToken: async () => hub.token({ sub: 'alice' }, (asked += 1) === 1 ? 2 : 600) });
    let connected = 0;
    refreshing.on('connected', () => (connected += 1));
    refreshing.connect();
    await until(() => asked === 2, 'a second token');
    const later = Date.now() + 8000;
    await until(() => Date.now() > later, 'the first token and its grace are over');
    assert.deepEqual([refreshing.state, connected], ['connected', 1]);
    const forged = client('eve', { getToken: async () => `${hub.token({ sub: 'eve' })}x` });
    const end = new Promise((disconnected) => forged.once('disconnected', disconnected));
    forged.connect();
    assert.equal((await end).code, 3500);
});

test('channels that the server gives and takes', async () => {
    const alice = client('carol');
    const events = [];
    alice.on('subscribed', ({ channel, data }) => events.push(['subscribed', channel, data]));
    alice.on('publication', ({ channel, data }) => events.push(['publication', channel, data]));
    alice.on('unsubscribed', ({ channel }) => events.push(['unsubscribed', channel]));
    alice.connect();
    await alice.ready(10_000);
    await hub.call('subscribe', { user: 'carol', channel: 'chat:given', data: { for: 'you' } });
    await until(() => events.length === 1, 'the subscription');
    await hub.call('publish', { channel: 'chat:given', data: 1 });
    await until(() => events.length === 2, 'the publication');
    await hub.call('unsubscribe', { user: 'carol', channel: 'chat:given' });
    await until(() => events.length === 3, 'the end');
    assert.deepEqual(events, [
        ['subscribed', 'chat:given', { for: 'you' }],
        ['publication', 'chat:given', 1],
        ['unsubscribed', 'chat:given'],
    ]);
    const end = new Promise((disconnected) => alice.once('disconnected', disconnected));
    await hub.call('disconnect', { user: 'carol' });
    assert.equal((await end).code, 3503);
});

test('what is not there is refused with the code that says so', async () => {
    const alice = client('alice');
    alice.connect();
    await alice.ready(10_000);
    await assert.rejects(alice.rpc('nothing', {}), { code: 108 });
    await assert.rejects(alice.publish('chat:elsewhere', 1), { code: 103 });
    await assert.rejects(alice.history('nothing:1', { limit: 1 }), { code: 102 });
    const end = new Promise((disconnected) => alice.once('disconnected', disconnected));
    alice.send({ nobody: 'listens' });
    assert.equal((await end).code, 3508);
});

test('without WebSocket: over a response that goes on, and requests of its own', async () => {
    const options = { emulationEndpoint: `${hub.origin}/emulation`, getToken: async () => hub.token({ sub: 'dave' }) };
    const behind = new Centrifuge([{ transport: 'http_stream', endpoint: `${hub.origin}/connection/http_stream` }], options);
    clients.push(behind);
    const heard = await subscribed(behind, 'chat:stream');
    await heard.subscription.publish('said in a request');
    await until(() => heard.data.length === 1, 'the publication');
    const { clients: there } = await heard.subscription.presence();
    assert.deepEqual(Object.values(there).map(({ user }) => user), ['dave']);
    behind.disconnect();
    await hub.call('publish', { channel: 'chat:stream', data: 'meanwhile' });
    behind.connect();
    await until(() => heard.data.length === 2, 'what was missed');
    assert.deepEqual(heard.data, ['said in a request', 'meanwhile']);
    const end = new Promise((disconnected) => behind.once('disconnected', disconnected));
    await hub.call('disconnect', { user: 'dave' });
    assert.equal((await end).code, 3503);
});
