// For everyone: by keyboard alone, with a screen reader, in both colours, on a small screen and at double size.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { box, connected, findings, goToRoom, line, roomLink, sees, stage, status, write } from '../browser.mjs';
import { until } from '../product.mjs';

const here = stage();

/** Every page and every thing that opens on it. */
async function everything(window, name, look) {
    const { page } = window;
    await connected(page);
    await look('welcome');
    await goToRoom(page, 'General');
    await write(page, 'a line with a link to https://example.org/');
    await line(page, 'a line with a link').getByText('delivered').last().waitFor();
    await look('room');
    await page.getByRole('button', { name: 'Members' }).click();
    await page.getByRole('complementary', { name: 'Members' }).getByText('@carol').waitFor();
    await look('members');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+k');
    await page.getByRole('option').first().waitFor();
    await look('switcher');
    await page.keyboard.press('Escape');
    await page.goto('/discover');
    await connected(page);
    await page.getByRole('button', { name: /^Join|^Leave/ }).first().waitFor();
    await look('discover');
    await page.getByRole('button', { name: 'New room' }).last().click();
    await page.getByRole('dialog').getByLabel('Name').waitFor();
    await look('new room');
    await page.keyboard.press('Escape');
    const stranger = await (await here.product.signIn('carol')).createRoom(`Of others, ${name}`);
    await page.goto(`/rooms/${stranger.id}`);
    await page.getByRole('button', { name: 'Join the room' }).waitFor();
    await look('stranger');
    await page.goto('/rooms/999999999');
    await look('error');
    await page.goto('/demo');
    for (const side of [page.frameLocator('iframe').first(), page.frameLocator('iframe').last()]) await connected(side);
    await page.getByLabel('Messages by').first().waitFor();
    await look('demo');
}

for (const colorScheme of ['light', 'dark']) {
    test(`axe finds nothing on any page, ${colorScheme}`, async (t) => {
        const window = await here.open(t, 'alice', { colorScheme, reducedMotion: 'reduce' });
        window.networkMayFail = true;
        const found = [];
        const look = async (name) => found.push(...(await findings(window.page)).map((words) => `${name}: ${words}`));
        await everything(window, colorScheme, look);
        const visitor = await here.open(t, null, { page: '/login?why=expired', colorScheme, reducedMotion: 'reduce' });
        await visitor.page.getByText('New here? Make an account').click();
        found.push(...(await findings(visitor.page)).map((words) => `login: ${words}`));
        assert.deepEqual(found, []);
    });
}

test('a line that failed, a notice and the state of a lost connection have enough contrast', async (t) => {
    const found = [];
    for (const colorScheme of ['light', 'dark']) {
        const window = await here.open(t, 'alice', { colorScheme, reducedMotion: 'reduce' });
        window.networkMayFail = true;
        const { page } = window;
        await connected(page);
        await goToRoom(page, 'General');
        await page.route('**/messages', (route) => (route.request().method() === 'POST' ? route.fulfill({ status: 403, body: '' }) : route.continue()));
        await write(page, `refused ${colorScheme}`);
        await line(page, `refused ${colorScheme}`).getByRole('button', { name: 'Retry' }).waitFor();
        await write(page, `deleted ${colorScheme}`);
        await line(page, `deleted ${colorScheme}`).getByRole('button', { name: 'Delete' }).click();
        await page.getByRole('button', { name: 'Undo' }).waitFor();
        await box(page).fill('x'.repeat(4100));
        await page.getByText('100 too many').waitFor();
        found.push(...(await findings(page)).map((words) => `failures, ${colorScheme}: ${words}`));
        await window.context.setOffline(true);
        await status(page, /Offline|Reconnecting/).waitFor();
        found.push(...(await findings(page)).map((words) => `offline, ${colorScheme}: ${words}`));
    }
    assert.deepEqual(found, []);
});

test('nothing is wider than a small phone, or than a window at double size', async (t) => {
    for (const options of [{ viewport: { width: 320, height: 640 }, isMobile: true, hasTouch: true }, { viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 }]) {
        const window = await here.open(t, 'bob', options);
        window.networkMayFail = true;
        const { page } = window;
        const wide = [];
        const look = async (name) => {
            const [inside, outside] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
            const beyond = await page.evaluate(() => [...document.querySelectorAll('button, a, input, textarea, .text, h1, h2')]
                .filter((element) => element.checkVisibility() && element.getBoundingClientRect().right > innerWidth + 1 && element.getBoundingClientRect().width > 1 && !element.closest('.sr-only'))
                .map((element) => element.outerHTML.slice(0, 80)));
            if (inside > outside || beyond.length > 0) wide.push({ name, inside, outside, beyond });
        };
        const room = await window.person.createRoom(`Wide ${options.viewport.width}`);
        await window.person.say(room.id, `https://example.org/${'a'.repeat(300)} ${'W'.repeat(200)}`);
        await page.goto(`/rooms/${room.id}`);
        await connected(page);
        await look('long words');
        await page.getByRole('button', { name: /^Messages travel by/ }).click();
        await page.getByRole('dialog', { name: 'How messages travel' }).waitFor();
        await look('modes');
        for (const path of ['/', '/discover', '/login', '/demo', '/rooms/999999999']) {
            await page.goto(path);
            await page.waitForLoadState('networkidle');
            await look(path);
        }
        assert.deepEqual(wide, []);
    }
});

test('a phone shows one column at a time, with a way back', async (t) => {
    const { page } = await here.open(t, 'alice', { viewport: { width: 375, height: 720 }, isMobile: true, hasTouch: true });
    await connected(page);
    const timeline = page.getByRole('log');
    assert.equal(await timeline.isVisible(), false);
    await roomLink(page, 'General').tap();
    await timeline.waitFor();
    assert.equal(await roomLink(page, 'General').isVisible(), false);
    await box(page).fill('from a phone');
    await page.getByRole('button', { name: 'Send', exact: true }).tap();
    await sees(page, 'from a phone');
    await page.getByRole('link', { name: 'Back to the rooms' }).filter({ visible: true }).tap();
    await roomLink(page, 'General').waitFor();
    await page.goBack();
    await sees(page, 'from a phone');
});

test('the keyboard alone is enough to sign in, jump to a room, write, look at the members, find and leave', async (t) => {
    const { page } = await here.open(t, null, { page: '/login' });
    const focused = () => page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim());
    const tabTo = async (wanted) => until(async () => {
        await page.keyboard.press('Tab');
        return (await focused()).match(wanted);
    }, `the key Tab reaches ${wanted}`);
    const focusIs = (wanted, why) => until(async () => (await focused()) === wanted, `${why}: ${wanted}`);

    await tabTo(/Carol/);
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, 'none', 'the focus is visible');
    await page.keyboard.press('Enter');
    await page.waitForURL(`${here.product.origin}/`);
    await connected(page);

    await page.keyboard.press('Control+k');
    await page.keyboard.type('coff');
    await page.getByRole('option', { name: 'Coffee machine' }).waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'Coffee machine' }).waitFor();
    await focusIs('Write to Coffee machine', 'the box is ready');
    await page.keyboard.type('no hands');
    await page.keyboard.press('Enter');
    await line(page, 'no hands').getByText('delivered').waitFor();

    await page.keyboard.press('Control+k');
    await page.getByRole('dialog', { name: 'Jump to a room' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog', { name: 'Jump to a room' }).waitFor({ state: 'hidden' });
    await focusIs('Write to Coffee machine', 'the focus comes back');

    await tabTo(/^Members$/);
    await page.keyboard.press('Enter');
    await page.getByRole('complementary', { name: 'Members' }).getByText('@dave').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('complementary', { name: 'Members' }).waitFor({ state: 'hidden' });
    await focusIs('Members', 'the focus comes back');

    await tabTo(/^Discover rooms$/);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'Discover' }).waitFor();
    await focusIs('Search rooms by name', 'the search box is ready');
    await page.keyboard.type('releases');
    await page.getByRole('button', { name: 'Join Releases' }).waitFor();
    await tabTo(/^Join Releases$/);
    await page.keyboard.press('Enter');
    await roomLink(page, 'Releases').waitFor();
    await focusIs('Leave Releases', 'the button says the next step');
    await page.keyboard.press('Enter');
    await roomLink(page, 'Releases').waitFor({ state: 'detached' });
});

test('the list of rooms is walked with the arrows', async (t) => {
    const { page } = await here.open(t, 'alice');
    await connected(page);
    await page.getByRole('navigation', { name: 'My rooms' }).getByRole('link').first().focus();
    const href = () => page.evaluate(() => document.activeElement.getAttribute('href'));
    const first = await href();
    await page.keyboard.press('ArrowDown');
    await until(async () => (await href()) !== first, 'down');
    await page.keyboard.press('ArrowUp');
    await until(async () => (await href()) === first, 'up again');
});

test('the focus stays where it is while messages arrive and the rooms change places', async (t) => {
    const { page } = await here.open(t, 'alice');
    const bob = await here.product.signIn('bob');
    await connected(page);
    const rooms = (await bob.call('GET', '/api/rooms')).rooms;
    await roomLink(page, 'Product').focus();
    for (const name of ['General', 'Product', 'General', 'Product']) {
        await bob.say(rooms.find((room) => room.name === name).id, `news of ${name}`);
        await roomLink(page, name).getByText(`Bob: news of ${name}`).waitFor();
        await until(async () => (await page.locator('.room-name').first().textContent()) === name, `${name} is first`);
        await until(() => roomLink(page, 'Product').evaluate((link) => link === document.activeElement), `the focus stays after news of ${name}`);
    }
});

test('the timeline is a log, every button that shows has a name, and new messages are said politely', async (t) => {
    const { page } = await here.open(t, 'alice');
    await connected(page);
    await goToRoom(page, 'General');
    const log = page.getByRole('log');
    await until(async () => (await log.getAttribute('aria-live')) === 'polite', 'polite');
    const nameless = await page.locator('button').evaluateAll((buttons) =>
        buttons.filter((button) => button.checkVisibility() && !(button.getAttribute('aria-label') || button.textContent.trim())).map((button) => button.outerHTML));
    assert.deepEqual(nameless, []);
});

test('the colours follow the system, and the choice is kept', async (t) => {
    const { page } = await here.open(t, 'alice', { colorScheme: 'dark' });
    const brightness = () => page.evaluate(() => Math.max(...getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).slice(0, 3).map(Number)));
    await until(async () => (await brightness()) < 80, 'dark');
    await page.getByRole('button', { name: 'Light colours' }).click();
    await until(async () => (await brightness()) > 200, 'light');
    await page.reload();
    await until(async () => (await brightness()) > 200, 'still light');
    await page.getByRole('button', { name: 'Dark colours' }).waitFor();
});
