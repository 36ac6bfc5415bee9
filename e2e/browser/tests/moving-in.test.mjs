// What a team brings along from Centrifugo: tokens that somebody else signs, personal channels, an SDK that speaks Protobuf.
import assert from 'node:assert/strict';
import { createSign, generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { after, afterEach, before, test } from 'node:test';
import { Centrifuge } from 'centrifuge';
import { Centrifuge as ProtobufCentrifuge } from 'centrifuge/build/protobuf';
import WebSocket from 'ws';
import { Hub } from '../hub.mjs';

const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
let hub;
let keys;
const clients = [];

before(async () => {
    const set = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'one', use: 'sig', alg: 'RS256' }] });
    keys = createServer((_, answer) => answer.setHeader('content-type', 'application/json').end(set));
    await new Promise((listening) => keys.listen(0, '127.0.0.1', listening));
    hub = await Hub.start({
        client: {
            token: { jwks_public_endpoint: `http://127.0.0.1:${keys.address().port}/certs`, audience: 'chat', issuer: 'sso' },
            subscribe_to_user_personal_channel: { enabled: true, single_connection: true },
        },
        channel: { without_namespace: { presence: true, history_size: 10, history_ttl: '1m', force_recovery: true } },
        http_stream: { enabled: true },
        prometheus: { enabled: true },
    });
});
afterEach(() => clients.splice(0).forEach((client) => client.disconnect()));
after(async () => {
    await hub.stop();
    keys.close();
});

function token(claims) {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const all = { exp: Math.floor(Date.now() / 1000) + 600, aud: ['chat'], iss: 'sso', ...claims };
    const text = `${part({ alg: 'RS256', kid: 'one' })}.${part(all)}`;
    return `${text}.${createSign('RSA-SHA256').update(text).sign(privateKey, 'base64url')}`;
}

function client(claims, Made = Centrifuge, options = {}) {
    const made = new Made(hub.websocket, { websocket: WebSocket, token: token(claims), minReconnectDelay: 50, ...options });
    clients.push(made);
    return made;
}

const once = (emitter, event) => new Promise((happened) => emitter.once(event, happened));

test('a token of somebody else opens a connection, and its user hears what is said to it alone', async () => {
    const alice = client({ sub: 'alice' });
    const subscribed = once(alice, 'subscribed');
    alice.connect();
    const { channel, recoverable } = await subscribed;
    assert.deepEqual([channel, recoverable], ['#alice', true]);
    const heard = once(alice, 'publication');
    await hub.call('publish', { channel: '#alice', data: 'for you' });
    assert.deepEqual(await heard.then(({ channel, data }) => [channel, data]), ['#alice', 'for you']);
});

test('a token for others, or by others, opens none', async () => {
    for (const claims of [{ sub: 'alice', aud: 'shop' }, { sub: 'alice', iss: 'nobody' }]) {
        const refused = client(claims);
        const disconnected = once(refused, 'disconnected');
        refused.connect();
        assert.equal((await disconnected).code, 3500);
    }
});

test('the second connection of a user closes the first, which does not come back', async () => {
    const first = client({ sub: 'bob' });
    first.connect();
    await first.ready(10_000);
    const disconnected = once(first, 'disconnected');
    const second = client({ sub: 'bob' });
    second.connect();
    await second.ready(10_000);
    assert.equal((await disconnected).code, 3504);
    assert.equal(second.state, 'connected');
});

test('an SDK that speaks Protobuf is told that JSON is spoken, and does not come back', async () => {
    const protobuf = client({ sub: 'carol' }, ProtobufCentrifuge, { protocol: 'protobuf' });
    const disconnected = once(protobuf, 'disconnected');
    protobuf.connect();
    const { code, reason } = await disconnected;
    assert.equal(code, 3508);
    assert.match(reason, /speaks JSON, not Protobuf/);
});
