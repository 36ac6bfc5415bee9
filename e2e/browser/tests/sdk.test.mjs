// The official JavaScript client, unmodified: what it is told and what it sees.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';
import { Product, until } from '../product.mjs';

let product;
before(async () => (product = await Product.start()));
after(() => product.stop());

/** A client of this person that notes the publications of every channel, and how each subscription came to be. */
function listen(person) {
    const client = new Centrifuge(product.websocket, {
        websocket: WebSocket,
        getToken: () => person.token(),
        minReconnectDelay: 50,
        maxReconnectDelay: 500,
    });
    const heard = { client, versions: {}, subscribed: [], unsubscribed: [] };
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
    await bobs.client.ready(10_000);
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
    await heard.client.ready(10_000);
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
    await carols.client.ready(10_000);
    const subscription = carols.client.newSubscription(`room:${room.id}`);
    const refused = new Promise((unsubscribed) => subscription.once('unsubscribed', unsubscribed));
    subscription.subscribe();
    assert.equal((await refused).code, 103);
    carols.client.disconnect();
});
