// Reading: the place where one reads is kept, what is new is counted, and what was read is known in every tab.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { box, connected, goToRoom, line, reads, roomLink, sees, stage, status, texts, write } from '../browser.mjs';
import { until } from '../product.mjs';

const here = stage();

/** A room of Alice and Bob in which Bob has said this much. */
async function roomWith(count, name) {
    const [alice, bob] = [await here.product.signIn('alice'), await here.product.signIn('bob')];
    const room = await alice.createRoom(name);
    await bob.call('POST', `/api/rooms/${room.id}/join`);
    const said = Array.from({ length: count }, (_, n) => `line ${n + 1}${n % 7 === 0 ? `\nwith a second one${' and more words'.repeat(n % 40)}` : ''}`);
    for (const text of said) await bob.say(room.id, text);
    return { room, alice, bob, said, page: `/rooms/${room.id}` };
}

const timeline = (page) => page.getByRole('group', { name: 'Messages' });
const scrollTo = (page, top) => timeline(page).evaluate((element, to) => (element.scrollTop = to), top);
const atBottom = (page) => timeline(page).evaluate((element) => element.scrollHeight - element.scrollTop - element.clientHeight < 2);

/** Notes in every frame where one message stands, until `fact`; returns how far it moved at most. */
async function movementOf(page, version, fact) {
    await page.evaluate((wanted) => {
        const place = () => document.querySelector(`[data-version="${wanted}"]`)?.getBoundingClientRect().top ?? NaN;
        const start = place();
        globalThis.__most = 0;
        const look = () => {
            globalThis.__most = Math.max(globalThis.__most, Math.abs(place() - start));
            globalThis.__watch = requestAnimationFrame(look);
        };
        look();
    }, version);
    await fact();
    return page.evaluate(() => new Promise((moved) => {
        requestAnimationFrame(() => requestAnimationFrame(() => {
            cancelAnimationFrame(globalThis.__watch);
            moved(globalThis.__most);
        }));
    }));
}

/** The version of the first message that is wholly in view. */
const firstInView = (page) => timeline(page).evaluate((element) => {
    const top = element.getBoundingClientRect().top;
    const found = [...element.querySelectorAll('.message[data-version]')].find((message) => message.getBoundingClientRect().top >= top);
    return found.dataset.version;
});

test('older messages load on scrolling up, without a jump, until the beginning', async (t) => {
    const { said, page: path } = await roomWith(300, 'Archive');
    const { page } = await here.open(t, 'bob', { page: path });
    await connected(page);
    await until(() => atBottom(page), 'the end is shown');
    const end = await texts(page);
    assert.deepEqual(end, said.slice(-end.length));

    let loads = 0;
    for (let [first] = end; first !== said[0]; [first] = await texts(page)) {
        // The reader comes near the top, where the next page is asked for.
        await scrollTo(page, 300);
        const moved = await movementOf(page, await firstInView(page), () => until(async () => (await texts(page))[0] !== first, 'an older page'));
        assert.ok(moved < 2, `the line being read moved by ${moved} px`);
        loads += 1;
        const shown = await texts(page);
        assert.deepEqual(shown, said.slice(said.indexOf(shown[0]), said.indexOf(shown[0]) + shown.length));
    }
    assert.ok(loads >= 2, `${loads} pages`);
    await page.getByText('This is the beginning of the room').waitFor();
});

test('the wheel goes up to the beginning and down to the end, and the page never holds more than a few hundred lines', async (t) => {
    const { said, page: path } = await roomWith(700, 'Long talk');
    const { page } = await here.open(t, 'bob', { page: path });
    await connected(page);
    await until(() => atBottom(page), 'the end is shown');
    await timeline(page).hover();
    let most = 0;
    const roll = async (step, arrived) => until(async () => {
        await page.mouse.wheel(0, step);
        const shown = await texts(page);
        most = Math.max(most, shown.length);
        const from = said.indexOf(shown[0]);
        assert.deepEqual(shown, said.slice(from, from + shown.length), 'contiguous all the way');
        return arrived(shown);
    }, 'the wheel arrives', 60_000);
    await roll(-1500, (shown) => shown[0] === said[0]);
    await roll(1500, (shown) => shown.at(-1) === said.at(-1));
    assert.ok(most <= 500, `${most} lines in the page`);
});

test('new messages do not move who reads further up; a pill counts them and leads down', async (t) => {
    const { room, bob, page: path } = await roomWith(120, 'Further up');
    const { page } = await here.open(t, 'alice', { page: path });
    await connected(page);
    await page.keyboard.press('Escape');
    await until(() => atBottom(page), 'the end is shown');
    await timeline(page).evaluate((element) => (element.scrollTop -= 900));
    const moved = await movementOf(page, await firstInView(page), async () => {
        for (const n of [1, 2, 3]) await bob.say(room.id, `new ${n}`);
        await page.getByRole('button', { name: '3 new messages' }).waitFor();
    });
    assert.ok(moved < 2, `the line being read moved by ${moved} px`);
    await page.getByRole('button', { name: '3 new messages' }).click();
    await until(() => atBottom(page), 'the pill leads to the end');
    await page.getByRole('button', { name: /new message/ }).waitFor({ state: 'hidden' });
    await bob.say(room.id, 'new 4');
    await sees(page, 'new 4');
    await until(() => atBottom(page), 'the end sticks');
    await page.getByRole('button', { name: /new message/ }).waitFor({ state: 'hidden' });
});

test('a flood does not move who reads far up, nor fill the page, and the pill still leads to its end', async (t) => {
    const { room, bob, said, page: path } = await roomWith(330, 'Flood');
    const { page } = await here.open(t, 'bob', { page: path });
    await connected(page);
    await until(async () => {
        await scrollTo(page, 200);
        return (await texts(page))[0] === said[0];
    }, 'the beginning');
    await scrollTo(page, 500);
    const carol = await here.product.signIn('carol');
    await carol.call('POST', `/api/rooms/${room.id}/join`);
    const flood = Array.from({ length: 200 }, (_, n) => `flood ${n + 1}`);
    const moved = await movementOf(page, await firstInView(page), async () => {
        for (let at = 0; at < flood.length; at += 20) await Promise.all(flood.slice(at, at + 20).map((text) => carol.say(room.id, text)));
        await page.getByRole('button', { name: '200 new messages' }).waitFor();
    });
    assert.ok(moved < 2, `the line being read moved by ${moved} px`);
    assert.ok((await texts(page)).length <= 450, `${(await texts(page)).length} lines in the page`);
    await page.getByRole('button', { name: '200 new messages' }).click();
    const truth = (await bob.timeline(room.id)).filter(({ kind }) => kind === 'text').map(({ text }) => text);
    await until(async () => (await texts(page)).at(-1) === truth.at(-1) && atBottom(page), 'the end');
    const shown = await texts(page);
    assert.deepEqual(shown, truth.slice(-shown.length));
});

test('writing from further up shows one\'s own message', async (t) => {
    const { page: path } = await roomWith(150, 'Answer from above');
    const { page } = await here.open(t, 'bob', { page: path });
    await connected(page);
    await until(() => atBottom(page), 'the end is shown');
    await scrollTo(page, 400);
    await write(page, 'my answer');
    await line(page, 'my answer').getByText('delivered').waitFor();
    await until(() => atBottom(page), 'the end is shown again');
});

test('a growing box does not hide the last message', async (t) => {
    const { said, page: path } = await roomWith(60, 'Growing box');
    const { page } = await here.open(t, 'bob', { page: path });
    await connected(page);
    await until(() => atBottom(page), 'the end is shown');
    await box(page).fill('one\ntwo\nthree\nfour\nfive');
    await until(() => atBottom(page), 'still at the end');
    const [last, composer] = [await line(page, said.at(-1)).last().boundingBox(), await box(page).boundingBox()];
    assert.ok(last.y + last.height <= composer.y, 'the last message is above the box');
});

test('unread messages are counted, and read in one tab is read in the other', async (t) => {
    const { room, bob, page: path } = await roomWith(0, 'Badges');
    const window = await here.open(t, 'alice', { page: path });
    const { page } = window;
    await connected(page);
    await bob.say(room.id, 'seen at once');
    await sees(page, 'seen at once');
    await goToRoom(page, 'General');
    const other = await window.tab('/');
    await connected(other);
    for (const n of [1, 2]) await bob.say(room.id, `unseen ${n}`);
    for (const tab of [page, other]) {
        await roomLink(tab, 'Badges').getByText('2 unread').waitFor();
        await until(async () => /^\(\d+\+?\) /.test(await tab.title()), 'the title counts');
    }
    await page.bringToFront();
    await goToRoom(page, 'Badges');
    await page.getByRole('log').getByText('New since you were here').waitFor();
    await reads(page, ['seen at once', 'unseen 1', 'unseen 2']);
    for (const tab of [page, other]) await roomLink(tab, 'Badges').getByText(/unread/).waitFor({ state: 'detached' });
    await other.reload();
    await connected(other);
    await roomLink(other, 'Badges').getByText(/unread/).waitFor({ state: 'detached' });
});

test('one\'s own messages are not unread, not in another tab either', async (t) => {
    const { page: path } = await roomWith(0, 'My words');
    const window = await here.open(t, 'alice', { page: path });
    const other = await window.tab('/');
    await Promise.all([connected(window.page), connected(other)]);
    await window.page.bringToFront();
    await write(window.page, 'by me');
    await roomLink(other, 'My words').getByText('You: by me').waitFor();
    await line(window.page, 'by me').getByText('delivered').waitFor();
    await roomLink(other, 'My words').getByText(/unread/).waitFor({ state: 'detached' });
});

test('what was read elsewhere while this browser was away is read here when it comes back', async (t) => {
    const { room, alice, bob } = await roomWith(3, 'Read elsewhere');
    const window = await here.open(t, 'alice');
    window.networkMayFail = true;
    const { page } = window;
    await connected(page);
    await roomLink(page, 'Read elsewhere').getByText('3 unread').waitFor();
    await window.context.setOffline(true);
    await status(page, /Offline|Reconnecting/).waitFor();
    await alice.call('PUT', `/api/rooms/${room.id}/read`, { version: 5 });
    await window.context.setOffline(false);
    await roomLink(page, 'Read elsewhere').getByText(/unread/).waitFor({ state: 'detached' });
    await bob.say(room.id, 'one more');
    await roomLink(page, 'Read elsewhere').getByText('1 unread').waitFor();
});

test('opening the room that is open already keeps the place', async (t) => {
    const { page: path } = await roomWith(120, 'Open already');
    const { page } = await here.open(t, 'bob');
    await connected(page);
    await goToRoom(page, 'Open already');
    await until(() => atBottom(page), 'the end is shown');
    await timeline(page).evaluate((element) => (element.scrollTop -= 1200));
    const version = await firstInView(page);
    const moved = await movementOf(page, version, async () => {
        await roomLink(page, 'Open already').click();
        await until(async () => (await texts(page)).length > 0, 'the timeline');
    });
    assert.ok(moved < 2, `the line being read moved by ${moved} px`);
    assert.equal(new URL(page.url()).pathname, path);
    await page.goBack();
    await until(() => new URL(page.url()).pathname === '/', 'one step back leaves the room');
});

test('the room that was written in last is first in the list', async (t) => {
    const { room, bob } = await roomWith(1, 'Waking up');
    const { page } = await here.open(t, 'alice');
    await connected(page);
    const names = () => page.getByRole('navigation', { name: 'My rooms' }).locator('.room-name').allTextContents();
    await bob.say((await bob.createRoom('Not yours')).id, 'to myself');
    const general = (await bob.call('GET', '/api/rooms')).rooms.find(({ name }) => name === 'General');
    await bob.say(general.id, 'good evening');
    await until(async () => (await names())[0] === 'General', 'General first');
    await bob.say(room.id, 'awake');
    await until(async () => (await names())[0] === 'Waking up', 'the other first');
    assert.equal((await names()).includes('Not yours'), false);
});
