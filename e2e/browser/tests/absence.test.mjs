// Away and back: the network goes, the server is killed, and nothing is missing, doubled or out of order; no reload.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected, goToRoom, line, reads, roomLink, sees, stage, status, texts, write } from '../browser.mjs';
import { until } from '../product.mjs';

const here = stage();

async function roomOfTwo(name) {
    const [alice, bob] = [await here.product.signIn('alice'), await here.product.signIn('bob')];
    const room = await alice.createRoom(name);
    await bob.call('POST', `/api/rooms/${room.id}/join`);
    return { alice, bob, room, page: `/rooms/${room.id}` };
}

/** Marks the document, so that a reload would be noticed. */
const mark = (page) => page.evaluate(() => (globalThis.__sameDocument = true));
const notReloaded = async (page) => assert.equal(await page.evaluate(() => globalThis.__sameDocument), true, 'the page was not reloaded');
const numbered = (word, count) => Array.from({ length: count }, (_, n) => `${word} ${n + 1}`);

test('five messages missed while offline appear in order, without a reload', async (t) => {
    const { bob, room, page: path } = await roomOfTwo('Tunnel');
    const window = await here.open(t, 'alice', { page: path });
    window.networkMayFail = true;
    const { page } = window;
    await connected(page);
    await mark(page);
    await bob.say(room.id, 'before the tunnel');
    await sees(page, 'before the tunnel');

    await window.context.setOffline(true);
    await status(page, /Offline|Reconnecting/).waitFor();
    const missed = numbered('in the tunnel', 5);
    for (const text of missed) await bob.say(room.id, text);
    assert.deepEqual(await texts(page), ['before the tunnel']);
    // It is said for some seconds only, which a busy machine may take for the lines.
    const caughtUp = status(page, 'Caught up 5 messages').waitFor();
    await Promise.all([caughtUp, window.context.setOffline(false), reads(page, ['before the tunnel', ...missed])]);
    await bob.say(room.id, 'after the tunnel');
    await reads(page, ['before the tunnel', ...missed, 'after the tunnel']);
    await notReloaded(page);
});

test('messages missed in a room that is not open are counted, and are there when it is opened', async (t) => {
    const { bob, room, page: path } = await roomOfTwo('Elsewhere');
    const window = await here.open(t, 'alice', { page: path });
    window.networkMayFail = true;
    const { page } = window;
    await connected(page);
    await bob.say(room.id, 'zero');
    await sees(page, 'zero');
    await goToRoom(page, 'General');
    await mark(page);
    await window.context.setOffline(true);
    await status(page, /Offline|Reconnecting/).waitFor();
    const missed = numbered('elsewhere', 5);
    for (const text of missed) await bob.say(room.id, text);
    await window.context.setOffline(false);
    await roomLink(page, 'Elsewhere').getByText('5 unread').waitFor();
    await goToRoom(page, 'Elsewhere');
    await reads(page, ['zero', ...missed]);
    await page.getByRole('log').getByText('New since you were here').waitFor();
    await notReloaded(page);
});

test('what is written while offline waits, says so, and goes out by itself, once and in order', async (t) => {
    const { room, alice, page: path } = await roomOfTwo('Letters');
    const window = await here.open(t, 'alice', { page: path });
    const other = await here.open(t, 'bob', { page: path });
    window.networkMayFail = true;
    const { page } = window;
    await Promise.all([connected(page), connected(other.page)]);
    await mark(page);
    await window.context.setOffline(true);
    await status(page, /Offline|Reconnecting/).waitFor();
    const letters = numbered('letter', 3);
    for (const text of letters) await write(page, text);
    await line(page, 'letter 1').getByText('waiting').waitFor();
    await reads(page, letters);
    await window.context.setOffline(false);
    await reads(other.page, letters);
    await until(async () => (await page.locator('[data-state="delivered"]').count()) === 3, 'all delivered');
    await reads(page, letters);
    assert.deepEqual((await alice.timeline(room.id)).filter(({ kind }) => kind === 'text').map(({ text }) => text), letters);
    await notReloaded(page);
});

test('what waits survives a reload', async (t) => {
    const { room, page: path } = await roomOfTwo('Patience');
    const window = await here.open(t, 'alice', { page: path });
    window.networkMayFail = true;
    const { page } = window;
    await connected(page);
    await page.route(`**/api/rooms/${room.id}/messages`, (route) => (route.request().method() === 'POST' ? route.abort() : route.continue()));
    const letters = numbered('waiting', 3);
    for (const text of letters) await write(page, text);
    await line(page, 'waiting 1').getByRole('button', { name: 'Retry now' }).waitFor();
    await page.unrouteAll();
    await page.reload();
    await reads(page, letters);
    await until(async () => (await page.locator('[data-state="delivered"]').count()) === 3, 'all delivered');
});

test('the server is killed in the middle of a talk: everybody ends with the whole of it, without a reload', async (t) => {
    const { room, alice, page: path } = await roomOfTwo('Kill nine');
    const windows = [await here.open(t, 'alice', { page: path }), await here.open(t, 'bob', { page: path })];
    for (const window of windows) {
        window.networkMayFail = true;
        await connected(window.page);
        await mark(window.page);
    }
    const [alices, bobs] = windows.map(({ page }) => page);
    for (const round of [1, 2]) {
        await write(alices, `alice before ${round}`);
        await write(bobs, `bob before ${round}`);
    }
    await here.product.kill();
    await status(alices, /Reconnecting|Connecting/).waitFor();
    await write(alices, 'alice during');
    await write(bobs, 'bob during');
    await here.product.start();
    await write(alices, 'alice after');
    await write(bobs, 'bob after');
    const truth = async () => (await alice.timeline(room.id)).filter(({ kind }) => kind === 'text').map(({ text }) => text);
    await until(async () => (await truth()).length === 8, 'all eight in the database');
    const expected = await truth();
    for (const name of ['alice', 'bob']) {
        const own = expected.filter((text) => text.startsWith(name));
        assert.deepEqual(own, [`${name} before 1`, `${name} before 2`, `${name} during`, `${name} after`]);
    }
    for (const { page } of windows) {
        await reads(page, expected);
        await connected(page);
        await notReloaded(page);
        await until(async () => (await page.locator('[data-state="delivered"]').count()) === 4, 'all delivered');
    }
});

test('after an absence longer than the history, the end is there and the rest loads on scrolling up', async (t) => {
    const { bob, room, page: path } = await roomOfTwo('Holidays');
    const window = await here.open(t, 'alice', { page: path });
    window.networkMayFail = true;
    const { page } = window;
    await connected(page);
    await bob.say(room.id, 'have a good time');
    await sees(page, 'have a good time');
    await mark(page);
    await window.context.setOffline(true);
    await status(page, /Offline|Reconnecting/).waitFor();
    const missed = numbered('postcard', 450);
    for (let at = 0; at < missed.length; at += 50) {
        await Promise.all(missed.slice(at, at + 50).map((text) => bob.say(room.id, text)));
    }
    await window.context.setOffline(false);
    const truth = (await bob.timeline(room.id)).filter(({ kind }) => kind === 'text').map(({ text }) => text);
    await until(async () => (await texts(page)).at(-1) === truth.at(-1), 'the newest');
    const shown = await texts(page);
    assert.deepEqual(shown, truth.slice(-shown.length), 'a contiguous end of the timeline');
    await until(async () => {
        await page.getByRole('group', { name: 'Messages' }).evaluate((element) => (element.scrollTop = 0));
        return (await texts(page))[0] === truth[0];
    }, 'the beginning');
    const top = await texts(page);
    assert.deepEqual(top, truth.slice(0, top.length), 'a contiguous beginning');
    await notReloaded(page);
});
