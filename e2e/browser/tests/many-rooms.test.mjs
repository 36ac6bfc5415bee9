// Somebody who is in very many rooms: a short first page, the rest where one scrolls or searches, and right counts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected, findings, reads, roomLink, sees, stage, write } from '../browser.mjs';
import { until } from '../product.mjs';

const here = stage();
const MANY = 230;
const name = (number) => `Many ${String(number).padStart(3, '0')}`;
const list = (page) => page.getByRole('navigation', { name: 'My rooms' });
const names = (page) => list(page).locator('.room-name').allTextContents();

let erin, rooms, made;

/** Erin and her rooms, made once, when the product runs. */
async function makeRooms() {
    const account = { username: 'erin', name: 'Erin', password: 'roomcast' };
    const answer = await fetch(`${here.product.origin}/api/register`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(account) });
    assert.equal(answer.status, 201);
    erin = await here.product.signIn('erin');
    rooms = [];
    for (let number = 0; number < MANY; number += 1) rooms.push(await erin.createRoom(name(number)));
}

async function opened(t, options) {
    await (made ??= makeRooms());
    return here.open(t, 'erin', options);
}

async function settledPage(t, options) {
    const window = await opened(t, options);
    await connected(window.page);
    return window;
}

test('the list has its beginning at first, and grows to its end as one scrolls', async (t) => {
    const { page } = await settledPage(t);
    await roomLink(page, name(MANY - 1)).waitFor();
    assert.ok((await names(page)).length < MANY, 'not all at once');
    await until(async () => {
        await list(page).evaluate((element) => element.scrollTo(0, element.scrollHeight));
        return (await names(page)).includes(name(0));
    }, 'the oldest room is reached');
    await list(page).getByRole('link', { name: 'Show more rooms' }).waitFor({ state: 'hidden' });
    const seen = await names(page);
    assert.equal(new Set(seen).size, seen.length, 'no room twice');
    const mine = seen.filter((words) => words.startsWith('Many'));
    assert.deepEqual(mine, rooms.map((_, number) => name(MANY - 1 - number)), 'in order, none left out');
});

test('news of a room that is not loaded brings it to the top and counts', async (t) => {
    const { page } = await settledPage(t);
    const alice = await here.product.signIn('alice');
    const room = rooms[3];
    await alice.call('POST', `/api/rooms/${room.id}/join`);
    await roomLink(page, name(3)).getByText('Alice joined').waitFor();
    // Far down again, for who opens the page anew.
    for (let number = 60; number < 180; number += 1) await erin.say(rooms[number].id, 'onward');
    await page.reload();
    await connected(page);
    await until(async () => !(await names(page)).includes(name(3)), 'the room is not loaded');
    await until(async () => !(await page.title()).startsWith('('), 'nothing is unread');

    await alice.say(room.id, 'do you hear me?');
    await roomLink(page, name(3)).getByText('Alice: do you hear me?').waitFor();
    assert.equal((await names(page))[0], name(3));
    await until(async () => (await page.title()).startsWith('(1) '), 'the title counts it');

    for (let number = 60; number < 180; number += 1) await erin.say(rooms[number].id, 'further');
    await page.reload();
    await connected(page);
    await until(async () => !(await names(page)).includes(name(3)), 'the room is not loaded again');
    await until(async () => (await page.title()).startsWith('(1) '), 'and counts where it is not loaded');
    await erin.call('PUT', `/api/rooms/${room.id}/read`, { version: (await erin.call('GET', `/api/rooms/${room.id}`)).version });
    await until(async () => !(await page.title()).startsWith('('), 'read elsewhere');
});

test('Ctrl+K finds a room that is not loaded, and it opens', async (t) => {
    const { page } = await settledPage(t);
    await until(async () => !(await names(page)).includes(name(7)), 'the room is not loaded');
    await page.keyboard.press('Control+k');
    await page.keyboard.type('any 007');
    await page.getByRole('option', { name: name(7) }).waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: name(7) }).waitFor();
    await write(page, 'found it');
    await sees(page, 'found it');
    await roomLink(page, name(7)).getByText('You: found it').waitFor();
    await page.reload();
    await reads(page, ['found it']);
});

test('the arrows go beyond the end of what is loaded', async (t) => {
    const { page } = await settledPage(t);
    await list(page).locator('.room').last().focus();
    await until(async () => (await names(page)).length > 40, 'more rooms come');
    const last = list(page).locator('#rooms .room').last();
    const count = (await names(page)).length;
    await last.focus();
    await page.keyboard.press('ArrowDown');
    await until(() => page.evaluate((at) => [...document.querySelectorAll('#rooms .room')].indexOf(document.activeElement) === at, count), 'the next room has the focus');
});

test('who reads far down the list is not moved by news at its top', async (t) => {
    const { page } = await settledPage(t);
    await list(page).evaluate((element) => element.scrollTo(0, 1500));
    const place = () => list(page).evaluate((element) => {
        const top = element.getBoundingClientRect().top + 200;
        const room = [...element.querySelectorAll('.room')].find((link) => link.getBoundingClientRect().bottom > top);
        return { name: room.querySelector('.room-name').textContent, at: Math.round(room.getBoundingClientRect().top) };
    });
    await until(async () => (await names(page)).length >= 100, 'what is needed is loaded');
    const before = await place();
    await erin.say(rooms[1].id, 'news at the top');
    await until(async () => (await names(page))[0] === name(1), 'it is at the top');
    assert.deepEqual(await place(), before);
});

test('without JavaScript a link leads through all pages of the list, and back', async (t) => {
    const { page } = await opened(t, { javaScriptEnabled: false });
    const seen = new Set(await names(page));
    while (await list(page).getByRole('link', { name: 'Show more rooms' }).isVisible()) {
        await list(page).getByRole('link', { name: 'Show more rooms' }).click();
        for (const words of await names(page)) seen.add(words);
    }
    assert.equal([...seen].filter((words) => words.startsWith('Many')).length, MANY);
    await list(page).getByRole('link', { name: 'Back to the newest' }).click();
    assert.equal(new URL(page.url()).search, '');
});

test('axe finds nothing in the list of rooms on a phone, nor at its end', async (t) => {
    for (const colorScheme of ['light', 'dark']) {
        const { page } = await settledPage(t, { viewport: { width: 375, height: 720 }, isMobile: true, hasTouch: true, colorScheme, reducedMotion: 'reduce' });
        assert.deepEqual(await findings(page), []);
        await page.getByRole('main').getByRole('heading', { level: 1, name: 'My rooms' }).waitFor();
    }
});
