// The official JavaScript client, unmodified: what it is told and what it sees.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, test } from 'node:test';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';
import { Product, until } from '../product.mjs';

let product;
before(async () => (product = await Product.start()));
after(() => product.stop());

/** A connection token as the backend signs them, with the demo's secret, that lives this many seconds. */
function tokenOf(person, seconds, secret = 'roomcast-demo-secret-for-loopback-only') {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: String(person.user.id), exp: Math.floor(Date.now() / 1000) + seconds })}`;
    return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** A client of this person that notes the publications of every channel, and how each subscription came to be. */
function listen(person, options = {}) {
    const client = new Centrifuge(product.websocket, {
        websocket: WebSocket,
        getToken: () => person.token(),
        minReconnectDelay: 50,
        maxReconnectDelay: 500,
        ...options,
    });
    const heard = { client, versions: {}, subscribed: [], unsubscribed: [], connected: 0 };
    client.on('connected', () => (heard.connected += 1));
    client.on('publication', ({ channel, offset, data }) => {
        if (data.type !== 'message') return;
        assert.equal(data.version, offset);
        (heard.versions[channel] ??= []).push(offset);
    });
    client.on('subscribed', (context) => heard.subscribed.push(context));
    client.on('unsubscribed', ({ channel }) => heard.unsubscribed.push(channel));
    client.connect();
    return heard;
}

test('it hears its rooms, joins and leaves, in order', async () => {
    const [alice, bob] = [await product.signIn('alice'), await product.signIn('bob')];
    const bobs = listen(bob);
    await bobs.client.ready(30_000);
    const room = await alice.createRoom('Official client');
    await bob.call('POST', `/api/rooms/${room.id}/join`);
    for (const text of ['one', 'two', 'three']) await alice.say(room.id, text);

    const channel = `room:${room.id}`;
    await until(() => bobs.versions[channel]?.length >= 4, 'joined and three messages');
    assert.deepEqual(bobs.versions[channel], [2, 3, 4, 5]);
    await bob.call('POST', `/api/rooms/${room.id}/leave`);
    await until(() => bobs.unsubscribed.includes(channel), 'the unsubscribe push');
    bobs.client.disconnect();
});

test('it recovers what it missed while everything was dead', async () => {
    const alice = await product.signIn('alice');
    const room = await alice.createRoom('Recovery');
    const channel = `room:${room.id}`;
    const heard = listen(alice);
    await heard.client.ready(30_000);
    for (let n = 0; n < 20; n++) await alice.say(room.id, `before ${n}`);
    await until(() => heard.versions[channel]?.at(-1) === 21, 'the first twenty');

    await product.kill();
    await product.start();
    for (let n = 0; n < 20; n++) await alice.say(room.id, `after ${n}`);
    await until(() => heard.versions[channel]?.at(-1) === 41, 'the rest');
    const truth = (await alice.timeline(room.id)).map(({ version }) => version);
    assert.deepEqual(heard.versions[channel], truth.slice(heard.versions[channel][0] - 1));
    const again = heard.subscribed.filter((context) => context.channel === channel).at(-1);
    assert.equal(again.wasRecovering, true);
    assert.equal(again.recovered, true);
    heard.client.disconnect();
});

test('it may subscribe to its own rooms only', async () => {
    const [alice, carol] = [await product.signIn('alice'), await product.signIn('carol')];
    const room = await alice.createRoom('Members only');
    const carols = listen(carol);
    await carols.client.ready(30_000);
    const subscription = carols.client.newSubscription(`room:${room.id}`);
    const refused = new Promise((unsubscribed) => subscription.once('unsubscribed', unsubscribed));
    subscription.subscribe();
    assert.equal((await refused).code, 103);
    carols.client.disconnect();
});

test('asking for a room that the server subscribed already is refused, and the room is heard once', async () => {
    const alice = await product.signIn('alice');
    const room = await alice.createRoom('By hand');
    await alice.say(room.id, 'before');
    const heard = listen(alice);
    await heard.client.ready(30_000);
    const channel = `room:${room.id}`;
    const subscription = heard.client.newSubscription(channel);
    const refused = new Promise((unsubscribed) => subscription.once('unsubscribed', unsubscribed));
    subscription.subscribe();
    assert.equal((await refused).code, 105);
    await alice.say(room.id, 'after');
    await until(() => (heard.versions[channel] ?? []).includes(3), 'the message by the server-side subscription');
    // The line before may still have been on its way when the client came.
    assert.deepEqual(heard.versions[channel], [2, 3].slice(-heard.versions[channel].length));
    heard.client.disconnect();
});

test('the token is refreshed before it expires, and the connection lives on', async () => {
    const alice = await product.signIn('alice');
    const room = await alice.createRoom('Refresh');
    const channel = `room:${room.id}`;
    let asked = 0;
    const heard = listen(alice, { getToken: async () => tokenOf(alice, (asked += 1) === 1 ? 2 : 600) });
    await heard.client.ready(30_000);
    const expired = Date.now() + 3000;
    await until(() => asked === 2, 'a second token');
    await until(() => Date.now() > expired, 'the first has ended');
    await alice.say(room.id, 'still here');
    await until(() => heard.versions[channel]?.at(-1) === 2, 'the message');
    assert.equal(heard.connected, 1);
    heard.client.disconnect();
});

test('a token that is refused again and again ends the connection, and says so', async () => {
    const alice = await product.signIn('alice');
    const heard = listen(alice, { getToken: async () => tokenOf(alice, 600, 'a secret of somebody else') });
    const { code, reason } = await new Promise((disconnected) => heard.client.once('disconnected', disconnected));
    assert.equal(code, 3500, reason);
});

test('an expired token is replaced by a new one at the first connect', async () => {
    const alice = await product.signIn('alice');
    const heard = listen(alice, { token: tokenOf(alice, -10) });
    await heard.client.ready(30_000);
    heard.client.disconnect();
});
