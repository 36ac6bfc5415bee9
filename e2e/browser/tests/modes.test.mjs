// By which mode messages travel: shown on the page, switched there while people write, and explained where it cannot be.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected, findings, line, reads, sees, stage, status, write } from '../browser.mjs';
import { until } from '../product.mjs';

const here = stage();

const chip = (page) => page.getByRole('button', { name: /^Messages travel by/ });
const panel = (page) => page.getByRole('dialog', { name: 'How messages travel' });
const option = (page, mode) => panel(page).getByRole('option', { name: new RegExp(`^${mode}\\b`) });
const shows = (page, mode) => chip(page).and(page.locator(`[data-mode="${mode}"]`)).filter({ hasText: new RegExp(`by ${mode}\\b`) }).waitFor();
/** Notices leave after some seconds: begin to wait before it happens. */
const isTold = (page, mode) => page.getByRole('status').getByText(`Messages travel by ${mode} from now on.`).waitFor();
const focusOf = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.dataset.mode);

/** A room of Alice and Bob, and the mode that the test begins with. */
async function roomOfTwo(name, mode = 'outbox') {
    const [alice, bob] = [await here.product.signIn('alice'), await here.product.signIn('bob')];
    const room = await alice.createRoom(name);
    await bob.call('POST', `/api/rooms/${room.id}/join`);
    // A relay reports what it reads soon after its start, not at it.
    await until(async () => (await settings(alice)).available.filter(({ ready }) => ready).length === 3, 'api, outbox and wal can be had');
    await alice.call('PUT', '/api/settings/broadcast-mode', { mode });
    return { alice, bob, room, path: `/rooms/${room.id}` };
}

const settings = (person) => person.call('GET', '/api/settings/broadcast-mode');

async function openChip(page) {
    await chip(page).click();
    await panel(page).waitFor();
}

async function switchTo(page, mode) {
    await openChip(page);
    await option(page, mode).and(page.locator(':not([aria-disabled])')).click();
    await shows(page, mode);
}

test('the mode is switched on the page while both write: every message once and in order on both screens', async (t) => {
    const { alice, room, path } = await roomOfTwo('Crossroads');
    const [alices, bobs] = [await here.open(t, 'alice', { page: path }), await here.open(t, 'bob', { page: path })];
    const pages = [alices.page, bobs.page];
    await Promise.all(pages.map(connected));
    const written = { Alice: [], Bob: [] };
    const say = async (page, name) => {
        written[name].push(`${name} ${written[name].length + 1}`);
        await write(page, written[name].at(-1));
    };
    let switching = true;
    const bobWrites = (async () => {
        // The page holds a few hundred lines: so many must do.
        while (switching && written.Bob.length < 200) {
            await say(bobs.page, 'Bob');
            await sees(alices.page, written.Bob.at(-1));
        }
    })();
    try {
        for (const mode of ['wal', 'api', 'outbox', 'wal']) {
            await say(alices.page, 'Alice');
            await Promise.all([switchTo(alices.page, mode), shows(bobs.page, mode), isTold(bobs.page, mode)]);
            await say(alices.page, 'Alice');
        }
    } finally {
        switching = false;
    }
    await bobWrites;

    const texts = async () => (await alice.timeline(room.id)).filter(({ kind }) => kind === 'text');
    await until(async () => (await texts()).length === written.Alice.length + written.Bob.length, 'all of it in the database');
    const truth = await texts();
    for (const page of pages) await reads(page, truth.map(({ text }) => text));
    for (const [name, own] of Object.entries(written)) {
        assert.deepEqual(truth.filter(({ author }) => author.name === name).map(({ text }) => text), own);
    }
    assert.deepEqual(new Set(truth.map(({ mode }) => mode)), new Set(['outbox', 'wal', 'api']));
    for (const page of pages) {
        const ways = await page.getByRole('log').locator('.way').allTextContents();
        assert.deepEqual(ways, truth.map(({ mode }) => `by ${mode}`), 'each line says by which mode it came');
    }
});

test('a line names its mode where it changes, and the chip tells how long each mode took', async (t) => {
    const { alice, path } = await roomOfTwo('Signposts');
    const { page } = await here.open(t, 'alice', { page: path });
    await connected(page);
    for (const [text, mode] of [['first', 'outbox'], ['second', 'outbox'], ['third', 'wal']]) {
        await alice.call('PUT', '/api/settings/broadcast-mode', { mode });
        await write(page, text);
        await line(page, text).getByText('delivered').waitFor();
    }
    const named = await page.getByRole('log').locator('.message:has(.way-named) .text').allTextContents();
    assert.deepEqual(named, ['first', 'third']);
    await chip(page).getByText(/\d m?s$/).waitFor();
    await openChip(page);
    for (const mode of ['outbox', 'wal']) await option(page, mode).getByText(/\d m?s$/).waitFor();
    assert.equal(await option(page, 'api').getByText(/\d m?s$/).count(), 0);
});

test('a switch that happened during an absence is seen after it', async (t) => {
    const { alice, path } = await roomOfTwo('Absent-minded');
    const window = await here.open(t, 'bob', { page: path });
    window.networkMayFail = true;
    const { page } = window;
    await connected(page);
    await shows(page, 'outbox');
    await window.context.setOffline(true);
    await status(page, /Offline|Reconnecting/).waitFor();
    await alice.call('PUT', '/api/settings/broadcast-mode', { mode: 'wal' });
    await Promise.all([isTold(page, 'wal'), window.context.setOffline(false)]);
    await shows(page, 'wal');
});

test('the keyboard alone is enough to look at the modes and to switch', async (t) => {
    const { path } = await roomOfTwo('Keys only');
    const { page } = await here.open(t, 'alice', { page: path });
    await connected(page);
    const focused = (wanted) => until(async () => (await focusOf(page)) === wanted, `the focus is on ${wanted}`);
    await until(async () => {
        await page.keyboard.press('Shift+Tab');
        return (await focusOf(page)) === 'mode-chip';
    }, 'the key Tab reaches the chip');
    assert.equal(await chip(page).getAttribute('aria-expanded'), 'false');
    await page.keyboard.press('Enter');
    await panel(page).waitFor();
    assert.equal(await chip(page).getAttribute('aria-expanded'), 'true');
    await until(async () => (await option(page, 'outbox').getAttribute('aria-selected')) === 'true', 'the mode of now is chosen');
    await focused('outbox');
    await page.keyboard.press('End');
    await focused('wal');
    await page.keyboard.press('ArrowDown');
    await focused('api');
    await page.keyboard.press('Escape');
    await panel(page).waitFor({ state: 'hidden' });
    await focused('mode-chip');
    await page.keyboard.press('Enter');
    await focused('outbox');
    await page.keyboard.press('End');
    await focused('wal');
    await until(async () => (await option(page, 'wal').getAttribute('aria-disabled')) === null, 'wal can be had');
    await page.keyboard.press('Enter');
    await panel(page).waitFor({ state: 'hidden' });
    await shows(page, 'wal');
    await focused('mode-chip');
});

test('a mode that cannot be had says why, and is not switched to', async (t) => {
    const { alice, path } = await roomOfTwo('No Kafka');
    const { page } = await here.open(t, 'alice', { page: path });
    await connected(page);
    await openChip(page);
    for (const mode of ['cdc', 'api_cdc', 'message']) {
        await option(page, mode).getByText(/Cannot be had: no relay reads .* from Kafka at present/).waitFor();
        assert.equal(await option(page, mode).getAttribute('aria-disabled'), 'true');
    }
    await option(page, 'cdc').click({ force: true });
    await option(page, 'cdc').getByText(/that takes Kafka/).waitFor();
    await page.keyboard.press('Enter');
    assert.equal(await panel(page).isVisible(), true, 'nothing happened');
    await shows(page, 'outbox');
    assert.equal((await settings(alice)).mode, 'outbox');
});

test('who is no administrator sees the modes and no switch', async (t) => {
    const { path } = await roomOfTwo('Onlookers');
    const { page } = await here.open(t, 'bob', { page: path });
    await connected(page);
    await openChip(page);
    await panel(page).getByText('Administrators choose, for everybody.').waitFor();
    await until(async () => (await panel(page).getByRole('listitem').count()) === 6, 'six modes');
    assert.equal(await panel(page).getByRole('option').count(), 0);
    await panel(page).getByText('wal', { exact: true }).click();
    await shows(page, 'outbox');
    await page.keyboard.press('Escape');
    await panel(page).waitFor({ state: 'hidden' });
});

test('a switch that is refused says so, and nothing changes', async (t) => {
    const { path } = await roomOfTwo('Refused');
    const window = await here.open(t, 'alice', { page: path });
    window.networkMayFail = true;
    const { page } = window;
    await connected(page);
    const problem = { type: 'about:blank', title: 'Conflict', status: 409, detail: 'Mode wal cannot be had: the relay left.', code: 'mode_unavailable' };
    await page.route('**/api/settings/broadcast-mode', (route) => (route.request().method() === 'PUT'
        ? route.fulfill({ status: 409, contentType: 'application/problem+json', body: JSON.stringify(problem) })
        : route.continue()));
    await openChip(page);
    await option(page, 'wal').and(page.locator(':not([aria-disabled])')).click();
    await page.getByRole('alert').getByText('The switch to wal did not work. Mode wal cannot be had: the relay left. Messages travel by outbox as before.').waitFor();
    await shows(page, 'outbox');
});

for (const [username, colorScheme] of [['alice', 'light'], ['alice', 'dark'], ['bob', 'light']]) {
    test(`axe finds nothing where the modes are open, ${username}, ${colorScheme}`, async (t) => {
        const { path } = await roomOfTwo(`Axe ${username} ${colorScheme}`, 'wal');
        const { page } = await here.open(t, username, { page: path, colorScheme, reducedMotion: 'reduce' });
        await connected(page);
        await write(page, 'by whichever way');
        await line(page, 'by whichever way').getByText('delivered').waitFor();
        await openChip(page);
        await panel(page).getByText(/Cannot be had: no relay/).first().waitFor();
        assert.deepEqual(await findings(page), []);
    });
}
