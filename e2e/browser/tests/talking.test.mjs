// Two people talk: rooms are made, found, joined and left, and what is written arrives once and in order.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { box, connected, goToRoom, line, reads, roomLink, sees, stage, texts, write } from '../browser.mjs';
import { until } from '../product.mjs';

const here = stage();

/** Waits until this is what stands in the box. */
const holds = (page, text) => until(async () => (await box(page).inputValue()) === text, `the box holds "${text}"`);

/** Two windows in one new room, live. */
async function two(t, name, options = {}) {
    const alice = await here.product.signIn('alice');
    const bob = await here.product.signIn('bob');
    const room = await alice.createRoom(name);
    await bob.call('POST', `/api/rooms/${room.id}/join`);
    const page = `/rooms/${room.id}`;
    const alices = await here.open(t, 'alice', { page, ...options });
    const bobs = await here.open(t, 'bob', { page });
    await Promise.all([connected(alices.page), connected(bobs.page)]);
    return { room, alices, bobs, alice, bob };
}

test('two people meet in a room that one made and the other found, and talk', async (t) => {
    const [alices, bobs] = [await here.open(t, 'alice'), await here.open(t, 'bob')];
    const [alice, bob] = [alices.page, bobs.page];
    await alice.getByRole('button', { name: 'New room' }).first().click();
    await alice.getByRole('dialog').getByLabel('Name').fill('Garden party');
    await alice.getByRole('button', { name: 'Create' }).click();
    await alice.getByRole('heading', { level: 1, name: 'Garden party' }).waitFor();
    await alice.getByRole('log').getByText('You created the room').waitFor();

    await bob.getByRole('link', { name: 'Discover rooms' }).first().click();
    await bob.getByRole('searchbox', { name: 'Search rooms by name' }).fill('garden');
    await until(async () => (await bob.getByRole('button', { name: /^Join / }).count()) === 1, 'one room found');
    await bob.getByRole('button', { name: 'Join Garden party' }).click();
    await goToRoom(bob, 'Garden party');
    await alice.getByRole('log').getByText('Bob joined').waitFor();
    await alice.getByText('2 members').first().waitFor();

    const said = [];
    for (const round of [1, 2, 3]) {
        for (const [who, page, reader] of [['Alice', alice, bob], ['Bob', bob, alice]]) {
            const text = `${who} says ${round}`;
            await write(page, text);
            said.push(text);
            await sees(reader, text);
        }
    }
    await reads(alice, said);
    await reads(bob, said);
    await roomLink(bob, 'Garden party').getByText('You: Bob says 3').waitFor();

    await Promise.all([alice.reload(), bob.reload()]);
    await reads(alice, said);
    await reads(bob, said);
    await Promise.all([connected(alice), connected(bob)]);
    await reads(alice, said);
});

test('many messages written quickly by both stand in the same order on both screens', async (t) => {
    const { room, alices, bobs, alice } = await two(t, 'Crossfire');
    const writing = async (page, name) => {
        for (let n = 0; n < 25; n++) await write(page, `${name} ${n}`);
    };
    await Promise.all([writing(alices.page, 'a'), writing(bobs.page, 'b')]);
    await until(async () => (await alice.timeline(room.id)).length === 52, 'all fifty in the database');
    const truth = (await alice.timeline(room.id)).filter(({ kind }) => kind === 'text').map(({ text }) => text);
    for (const name of ['a', 'b']) {
        const own = truth.filter((text) => text.startsWith(name));
        assert.deepEqual(own, Array.from({ length: 25 }, (_, n) => `${name} ${n}`));
    }
    await reads(alices.page, truth);
    await reads(bobs.page, truth);
});

test('a message is sending, then saved, then delivered', async (t) => {
    const { room, alices } = await two(t, 'States');
    const { page } = alices;
    // From the next load on, what the socket brings can be held back.
    let letThrough = true;
    const held = [];
    await page.routeWebSocket('**/connection/websocket', (socket) => {
        const server = socket.connectToServer();
        server.onMessage((message) => (letThrough ? socket.send(message) : held.push(() => socket.send(message))));
    });
    let post;
    const posted = new Promise((arrived) => (post = arrived));
    await page.route(`**/api/rooms/${room.id}/messages`, (route) => (route.request().method() === 'POST' ? post(route) : route.continue()));
    await page.reload();
    await connected(page);

    letThrough = false;
    await write(page, 'step by step');
    await line(page, 'step by step').getByText('sending').waitFor();
    await (await posted).continue();
    await line(page, 'step by step').getByText('saved').waitFor();
    letThrough = true;
    for (const send of held) send();
    await line(page, 'step by step').getByText('delivered').waitFor();
    await reads(page, ['step by step']);
});

test('a message that was refused keeps its text, and Retry sends it once', async (t) => {
    const { room, alices, bobs } = await two(t, 'Refusals');
    alices.networkMayFail = true;
    const { page } = alices;
    const problem = { type: 'about:blank', title: 'Not now', status: 422, detail: 'the server does not want this', code: 'refused' };
    await page.route(`**/api/rooms/${room.id}/messages`, (route) =>
        route.fulfill({ status: 422, contentType: 'application/problem+json', body: JSON.stringify(problem) }));
    await write(page, 'please take it');
    const failed = line(page, 'please take it');
    await failed.getByText('not sent').waitFor();
    await failed.getByText('The server does not want this. Your text is kept.').waitFor();
    await page.unrouteAll();
    await page.reload();
    await failed.getByRole('button', { name: 'Retry' }).click();
    await sees(bobs.page, 'please take it');
    await failed.getByText('delivered').waitFor();
    await reads(page, ['please take it']);
    await reads(bobs.page, ['please take it']);
});

test('an answer that got lost makes no second message', async (t) => {
    const { room, alices, bobs } = await two(t, 'Lost answers');
    alices.networkMayFail = true;
    const { page } = alices;
    let tries = 0;
    await page.route(`**/api/rooms/${room.id}/messages`, async (route) => {
        tries += 1;
        if (tries > 1) return route.continue();
        await route.fetch();
        return route.abort();
    });
    await write(page, 'only once');
    await write(page, 'and then this');
    await reads(bobs.page, ['only once', 'and then this']);
    await line(page, 'and then this').getByText('delivered').waitFor();
    await reads(page, ['only once', 'and then this']);
});

test('a message that could not be sent can be deleted, and the deletion undone', async (t) => {
    const { room, alices, bobs } = await two(t, 'Second thoughts');
    alices.networkMayFail = true;
    const { page } = alices;
    await page.route(`**/api/rooms/${room.id}/messages`, (route) => route.fulfill({ status: 403, body: '' }));
    await write(page, 'never mind');
    await line(page, 'never mind').getByRole('button', { name: 'Delete' }).waitFor();
    await page.unrouteAll();
    await line(page, 'never mind').getByRole('button', { name: 'Delete' }).click();
    await line(page, 'never mind').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Undo' }).click();
    await reads(bobs.page, ['never mind']);
    await reads(page, ['never mind']);
});

test('what is not sent yet is kept for each room, across rooms and a reload', async (t) => {
    const { alices } = await two(t, 'Drafts');
    const { page } = alices;
    await box(page).fill('half a thought');
    await goToRoom(page, 'General');
    await holds(page, '');
    await box(page).fill('another\nwith two lines');
    await roomLink(page, 'Drafts').getByText('Draft: half a thought').waitFor();
    await page.reload();
    await connected(page);
    await holds(page, 'another\nwith two lines');
    await goToRoom(page, 'Drafts');
    await holds(page, 'half a thought');
    await box(page).press('Enter');
    await sees(page, 'half a thought');
    await page.reload();
    await connected(page);
    await holds(page, '');
    await reads(page, ['half a thought']);
});

test('Shift+Enter breaks the line, and links are links', async (t) => {
    const { alices, bobs } = await two(t, 'Lines');
    const { page } = alices;
    await box(page).fill('first');
    await box(page).press('Shift+Enter');
    await box(page).pressSequentially('see https://example.org/a?b=1&c=2.');
    await box(page).press('Enter');
    await reads(bobs.page, ['first\nsee https://example.org/a?b=1&c=2.']);
    const link = bobs.page.getByRole('log').getByRole('link');
    assert.equal(await link.getAttribute('href'), 'https://example.org/a?b=1&c=2');
    assert.match(await link.getAttribute('rel'), /noopener/);
    const height = (target) => target.evaluate((element) => element.getBoundingClientRect().height);
    assert.ok((await height(line(bobs.page, 'first').locator('.text'))) > 30, 'the line break is seen');
});

test('joining and leaving in one tab shows in the other', async (t) => {
    const alice = await here.product.signIn('alice');
    const room = await alice.createRoom('Tabs');
    await alice.say(room.id, 'said before');
    const window = await here.open(t, 'dave', { page: '/discover' });
    const other = await window.tab('/');
    await connected(other);
    await window.page.getByRole('searchbox').fill('Tabs');
    await window.page.getByRole('button', { name: 'Join Tabs' }).click();
    await goToRoom(other, 'Tabs');
    await sees(other, 'said before');
    await other.getByRole('log').getByText('You joined').waitFor();

    await goToRoom(window.page, 'Tabs');
    await window.page.getByRole('button', { name: 'Members' }).click();
    await window.page.getByRole('button', { name: 'Leave the room' }).click();
    await roomLink(other, 'Tabs').waitFor({ state: 'detached' });
    await other.getByRole('heading', { level: 1, name: 'Tabs' }).waitFor({ state: 'hidden' });
    await roomLink(window.page, 'Tabs').waitFor({ state: 'detached' });
});

test('a room of others can be joined from its address', async (t) => {
    const alice = await here.product.signIn('alice');
    const room = await alice.createRoom('By address');
    await alice.say(room.id, 'come in');
    const { page } = await here.open(t, 'carol', { page: `/rooms/${room.id}` });
    await page.getByText('You are not in this room').waitFor();
    assert.deepEqual(await texts(page), []);
    await page.getByRole('button', { name: 'Join the room' }).click();
    await reads(page, ['come in']);
    await write(page, 'here I am');
    await line(page, 'here I am').getByText('delivered').waitFor();
});

test('an address of nothing says so', async (t) => {
    const window = await here.open(t, 'carol');
    window.networkMayFail = true;
    await window.page.goto('/rooms/999999999');
    await window.page.getByText('404').waitFor();
    await window.page.getByRole('link', { name: 'My rooms' }).click();
    await window.page.getByText('@carol').waitFor();
});
