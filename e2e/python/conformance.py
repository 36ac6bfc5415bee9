"""The hub alone, with the official Python client, unmodified: what docs/protocol.md says was run."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request

from centrifuge import (
    CentrifugeError,
    Client,
    ClientEventHandler,
    StreamPosition,
    SubscriptionEventHandler,
)

SECRET = "the secret of the conformance tests"
KEY = "the key of the conformance tests"
PATIENCE = 30

EVERYTHING = {
    "history_size": 100,
    "history_ttl": "10m",
    "force_recovery": True,
    "presence": True,
    "join_leave": True,
    "allow_publish_for_subscriber": True,
    "allow_history_for_subscriber": True,
    "allow_presence_for_subscriber": True,
}
CONFIG = {
    "client": {
        "token": {"hmac_secret_key": SECRET},
        "expired_close_delay": "5s",
        "expired_sub_close_delay": "5s",
    },
    "http_api": {"key": KEY},
    "websocket": {"compression": True},
    "channel": {
        "namespaces": [
            {"name": "chat", "allow_subscribe_for_client": True, **EVERYTHING},
            {"name": "guarded", **EVERYTHING},
        ]
    },
}


class Hub:
    """A hub that knows nothing but its configuration."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.config = os.path.join(self.directory.name, "hub.json")
        with open(self.config, "w") as file:
            json.dump(CONFIG, file)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.start()

    def start(self):
        program = os.environ["ROOMCAST_BIN"]
        command = [program, "hub", "--listen", self.address, "--hub-config", self.config]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert b"is ready at" in self.process.stdout.readline()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        self.kill()
        self.directory.cleanup()

    def call(self, method, body):
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
        url = f"http://{self.address}/api/{method}"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)


def token(seconds=600, secret=SECRET, **claims):
    """A signed token that lives so many seconds."""

    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    claims["exp"] = int(time.time()) + seconds
    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims)
    signature = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


async def until(fact, what):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if fact():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE} s: {what}")


class Ears(SubscriptionEventHandler):
    """What a subscription heard."""

    def __init__(self):
        self.data, self.infos, self.joins, self.leaves, self.subscribed, self.ends = [], [], [], [], [], []

    async def on_publication(self, ctx):
        self.data.append(ctx.pub.data)
        self.infos.append(ctx.pub.info)

    async def on_join(self, ctx):
        self.joins.append(ctx.info.user)

    async def on_leave(self, ctx):
        self.leaves.append(ctx.info.user)

    async def on_subscribed(self, ctx):
        self.subscribed.append(ctx)

    async def on_unsubscribed(self, ctx):
        self.ends.append(ctx.code)


class Life(ClientEventHandler):
    """What became of a connection."""

    def __init__(self):
        self.connects, self.ends, self.server = 0, [], []

    async def on_connected(self, ctx):
        self.connects += 1

    async def on_disconnected(self, ctx):
        self.ends.append(ctx.code)

    async def on_subscribed(self, ctx):
        self.server.append(("subscribed", ctx.channel))

    async def on_publication(self, ctx):
        self.server.append(("publication", ctx.channel, ctx.pub.data))

    async def on_unsubscribed(self, ctx):
        self.server.append(("unsubscribed", ctx.channel))


class Conformance(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.hub = Hub()

    @classmethod
    def tearDownClass(cls):
        cls.hub.stop()

    def setUp(self):
        self.clients = []

    async def asyncTearDown(self):
        for client in self.clients:
            await client.disconnect()

    def client(self, user, get_token=None):
        async def own():
            return token(sub=user, info={"name": user})

        client = Client(
            f"ws://{self.hub.address}/connection/websocket",
            events=Life(),
            get_token=get_token or own,
            max_reconnect_delay=0.5,
            proxy=None,
        )
        self.clients.append(client)
        return client

    async def subscribed(self, client, channel, **options):
        subscription = client.new_subscription(channel, events=Ears(), **options)
        await client.connect()
        await subscription.subscribe()
        await subscription.ready(timeout=PATIENCE)
        return subscription

    async def test_connect_subscribe_and_publish(self):
        client = self.client("alice")
        alice = await self.subscribed(client, "chat:py-hello")
        # The SDK does not say: its WebSocket library asks for compression by itself.
        agreed = [extension.name for extension in client._conn.protocol.extensions]
        self.assertEqual(agreed, ["permessage-deflate"])
        bob = await self.subscribed(self.client("bob"), "chat:py-hello")
        await alice.publish({"text": "hi " * 100})
        await until(lambda: bob.events.data == [{"text": "hi " * 100}], "the publication")
        self.assertEqual((bob.events.infos[0].user, bob.events.infos[0].conn_info), ("alice", {"name": "alice"}))

    async def test_presence_joins_and_leaves(self):
        alice = await self.subscribed(self.client("alice"), "chat:py-here", join_leave=True)
        other = self.client("bob")
        await self.subscribed(other, "chat:py-here")
        await until(lambda: "bob" in alice.events.joins, "his coming")
        presence = await alice.presence()
        self.assertEqual(sorted(info.user for info in presence.clients.values()), ["alice", "bob"])
        stats = await alice.presence_stats()
        self.assertEqual((stats.num_clients, stats.num_users), (2, 2))
        await other.disconnect()
        await until(lambda: "bob" in alice.events.leaves, "his going")

    async def test_history(self):
        alice = await self.subscribed(self.client("alice"), "chat:py-history")
        for n in range(1, 6):
            await alice.publish(n)
        top = await alice.history()
        self.assertEqual((top.publications, top.offset), ([], 5))
        page = await alice.history(limit=2, since=StreamPosition(offset=2, epoch=top.epoch))
        self.assertEqual([publication.data for publication in page.publications], [3, 4])
        back = await alice.history(limit=2, reverse=True)
        self.assertEqual([publication.data for publication in back.publications], [5, 4])

    async def test_recovery(self):
        away = self.client("alice")
        heard = (await self.subscribed(away, "chat:py-recover")).events
        self.hub.call("publish", {"channel": "chat:py-recover", "data": 1})
        await until(lambda: heard.data == [1], "the first")
        await away.disconnect()
        for n in range(2, 7):
            self.hub.call("publish", {"channel": "chat:py-recover", "data": n})
        await away.connect()
        await until(lambda: len(heard.data) == 6, "the rest")
        self.assertEqual(heard.data, [1, 2, 3, 4, 5, 6])
        self.assertTrue(heard.subscribed[-1].recovered)

    async def test_restart_of_the_hub(self):
        heard = (await self.subscribed(self.client("alice"), "chat:py-restart")).events
        self.hub.call("publish", {"channel": "chat:py-restart", "data": "before"})
        await until(lambda: heard.data == ["before"], "the first")
        self.hub.kill()
        self.hub.start()
        await until(lambda: len(heard.subscribed) == 2, "the client is back")
        self.assertEqual((heard.subscribed[1].was_recovering, heard.subscribed[1].recovered), (True, False))
        self.hub.call("publish", {"channel": "chat:py-restart", "data": "after"})
        await until(lambda: heard.data[-1] == "after", "the second")

    async def test_subscription_tokens(self):
        lives = iter([2, 600])

        async def get_token(channel):
            return token(next(lives), sub="alice", channel=channel)

        alice = self.client("alice")
        heard = (await self.subscribed(alice, "guarded:py", get_token=get_token)).events
        await asyncio.sleep(8)  # the first token and its grace are over
        self.hub.call("publish", {"channel": "guarded:py", "data": 1})
        await until(lambda: heard.data == [1], "the publication")
        self.assertEqual(len(heard.subscribed), 1)
        refused = alice.new_subscription("guarded:other", events=Ears())
        await refused.subscribe()
        await until(lambda: refused.events.ends == [103], "the refusal")

    async def test_connection_tokens(self):
        lives = iter([2, 600])

        async def get_token():
            return token(next(lives), sub="alice")

        client = self.client("alice", get_token)
        await client.connect()
        await client.ready(timeout=PATIENCE)
        await asyncio.sleep(8)  # the first token and its grace are over
        with self.assertRaises(CentrifugeError):
            await client.rpc("nothing", {})
        self.assertEqual((client.events.connects, client.events.ends), (1, []))

        async def forged():
            return token(sub="eve", secret="another secret")

        eve = self.client("eve", forged)
        await eve.connect()
        await until(lambda: eve.events.ends == [3500], "the refusal")

    async def test_channels_of_the_server(self):
        client = self.client("carol")
        await client.connect()
        await client.ready(timeout=PATIENCE)
        for method, more in [("subscribe", {}), ("publish", {"data": 1}), ("unsubscribe", {})]:
            whose = {} if method == "publish" else {"user": "carol"}
            self.hub.call(method, {"channel": "chat:py-given", **whose, **more})
        channel = "chat:py-given"
        await until(lambda: len(client.events.server) == 3, "all three")
        told = [("subscribed", channel), ("publication", channel, 1), ("unsubscribed", channel)]
        self.assertEqual(client.events.server, told)
        self.hub.call("disconnect", {"user": "carol"})
        await until(lambda: client.events.ends == [3503], "the end")


if __name__ == "__main__":
    unittest.main()
