// The pictures of the README, from the real product with fresh data: `npm run screenshots`.
//
// The people, what they say and how it looks are the product's; only the times are moved, because the afternoon that
// the conversation takes is written here in a second. Set ROOMCAST_BIN to a release build for its latency on the chip.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { box, connected, goToRoom, launch, line, Window, write } from './browser.mjs';
import { repacked } from './png.mjs';
import { Product, until } from './product.mjs';

const folder = fileURLToPath(new URL('../../docs/screenshots', import.meta.url));
const MINUTE = 60_000;

const TALK = [
    ['carol', 'The hall is ours on Saturday from two. Who brings what?', 64],
    ['bob', 'I have the long cable and two lamps.', 61],
    ['bob', 'And a table, if somebody helps me carry it.', 61],
    ['dave', 'I help. I come by at one with the van.', 58],
    ['alice', 'Cake! Lemon and chocolate, eight people each.', 41],
    ['carol', 'Then we need plates, cups and a knife that cuts.\nI write the list: https://example.org/saturday', 39],
    ['bob', 'Is there music?', 14],
    ['alice', 'Dave and I play three songs. Maybe four.', 12],
    ['dave', 'Four. I have practised.', 11],
    ['carol', 'I heard it through the wall, it is good!', 5],
];
const ROOMS = [
    ['carol', 'Book club', ['dave'], ['dave', 'Chapter four is where it gets strange. I like strange.'], 32],
    ['dave', 'Cycling on Sunday', ['alice', 'bob'], ['bob', 'Eight o’clock at the bridge, rain or not.'], 95],
    ['bob', 'Photography', ['alice', 'carol', 'dave'], ['carol', 'The light at seven was worth getting up for.'], 180],
    ['carol', 'Kitchen garden', [], ['carol', 'Tomatoes: 3. Slugs: 11.'], 400],
];

/** Writes the afternoon and returns the time that each line of it shall bear. */
async function afternoon(product) {
    const people = Object.fromEntries(await Promise.all(['alice', 'bob', 'carol', 'dave'].map(async (name) => [name, await product.signIn(name)])));
    for (const [host, name, guests, [who, text]] of ROOMS) {
        const room = await people[host].createRoom(name);
        for (const guest of guests) await people[guest].call('POST', `/api/rooms/${room.id}/join`);
        await people[who].say(room.id, text);
    }
    const room = await people.carol.createRoom('Saturday');
    for (const guest of ['alice', 'bob', 'dave']) await people[guest].call('POST', `/api/rooms/${room.id}/join`);
    for (const [who, text] of TALK) await people[who].say(room.id, text);
    await people.alice.call('PUT', `/api/rooms/${room.id}/read`, { version: 4 + TALK.length });
    return { people, room, times: await timesOf(people, room) };
}

/** From the time a line was written to the time it shall bear; rooms of the demo lie some hours back. */
async function timesOf(people, open) {
    const times = new Map();
    const now = Date.now();
    const known = new Set();
    for (const person of Object.values(people)) {
        for (const room of (await person.call('GET', '/api/rooms')).rooms.filter(({ id }) => !known.has(id))) {
            known.add(room.id);
            const timeline = await person.timeline(room.id);
            const spoken = timeline.filter(({ kind }) => kind === 'text');
            const age = ROOMS.find(([, name]) => name === room.name)?.[4] ?? 40 + 75 * room.id;
            for (const message of timeline) {
                const back = spoken.length - 1 - spoken.indexOf(message);
                const minutes = message.kind !== 'text' ? (room.id === open.id ? 70 : age + 6 * spoken.length + 30) : room.id === open.id ? TALK.at(-1 - back)[2] : age + 4 * back;
                times.set(message.created_at, new Date(now - minutes * MINUTE).toISOString());
            }
            times.set(room.bumped_at, times.get(timeline.at(-1).created_at));
        }
    }
    return times;
}

async function moveTimes(window, times) {
    await window.context.route(/\/(rooms\/\d+|discover|demo)?(\?.*)?$|\/api\/rooms/, async (route) => {
        if (route.request().method() !== 'GET') return route.continue();
        const response = await route.fetch();
        let body = await response.text();
        for (const [real, moved] of times) body = body.replaceAll(real, moved);
        const { 'content-length': _, 'content-encoding': __, ...headers } = response.headers();
        return route.fulfill({ response, headers, body });
    });
}

/** A few lines by each mode that can be had here, and the menu of the modes open. */
async function switching(page, { alice, bob }) {
    const here = new URL(page.url()).pathname.split('/').at(-1);
    const offers = async () => (await alice.call('GET', '/api/settings/broadcast-mode')).available;
    await until(async () => (await offers()).find(({ mode }) => mode === 'wal').ready, 'wal can be had');
    for (const [mode, answer, texts] of [['wal', 'I can smell it from here.', ['That is the chocolate one.', 'Helpers get the first slice.']], ['api', 'I bring the knife.', ['Perfect!', 'And candles?', 'Found them.']]]) {
        await alice.call('PUT', '/api/settings/broadcast-mode', { mode });
        await bob.say(here, answer);
        for (const text of texts) {
            await write(page, text);
            await line(page, text).getByText('delivered').waitFor();
        }
    }
    await alice.call('PUT', '/api/settings/broadcast-mode', { mode: 'outbox' });
    await page.getByRole('button', { name: 'Close this notice' }).click();
    await page.getByRole('button', { name: /^Messages travel by outbox/ }).click();
    await page.getByRole('dialog', { name: 'How messages travel' }).getByText('now', { exact: true }).waitFor();
}

async function shoot(page, name) {
    await page.mouse.move(0, 0);
    await page.evaluate(() => document.fonts.ready);
    const png = repacked(await page.screenshot({ animations: 'disabled', caret: 'hide' }));
    writeFileSync(join(folder, `${name}.png`), png);
    console.log(`${name}.png ${Math.round(png.length / 1024)} KB`);
}

const product = await Product.start();
// A page that was rewritten on its way counts as one from elsewhere, which may not call this machine.
const browser = await launch('--disable-features=LocalNetworkAccessChecks');
const open = async (username, times, options) => {
    const window = await Window.open(browser, product, username, { page: 'about:blank', viewport: { width: 1280, height: 800 }, deviceScaleFactor: 2, reducedMotion: 'reduce', ...options });
    if (times) await moveTimes(window, times);
    return window;
};

try {
    mkdirSync(folder, { recursive: true });
    const login = await open(null, null, {});
    await login.page.goto('/login');
    await shoot(login.page, 'login');

    const { people, room, times } = await afternoon(product);
    const path = `/rooms/${room.id}`;

    const light = await open('alice', times, { colorScheme: 'light' });
    await light.page.goto(path);
    await connected(light.page);
    await write(light.page, 'Lemon cake is in the oven, see you all at two.');
    await line(light.page, 'Lemon cake').getByText('delivered').waitFor();
    const general = (await people.bob.call('GET', '/api/rooms')).rooms.find(({ name }) => name === 'General');
    await people.bob.say(general.id, 'Did anybody see my umbrella? Grey, a bit bent.');
    await until(async () => (await light.page.getByText('umbrella').count()) > 0, 'the line in the list');
    await shoot(light.page, 'chat');

    await switching(light.page, people);
    await shoot(light.page, 'modes');
    await light.page.keyboard.press('Escape');

    await light.page.getByRole('link', { name: 'Discover rooms' }).first().click();
    await light.page.getByRole('button', { name: 'Join Book club' }).waitFor();
    await shoot(light.page, 'discover');

    const dark = await open('alice', times, { colorScheme: 'dark' });
    await dark.page.goto(path);
    await connected(dark.page);
    await dark.page.getByRole('button', { name: 'Members' }).click();
    await dark.page.getByRole('complementary', { name: 'Members' }).getByText('@dave').waitFor();
    await box(dark.page).focus();
    await shoot(dark.page, 'chat-dark');

    const phone = await open('dave', times, { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true });
    await phone.page.goto('/');
    await connected(phone.page);
    await goToRoom(phone.page, 'Saturday');
    await line(phone.page, 'Lemon cake').waitFor();
    await shoot(phone.page, 'phone');

    const demo = await open(null, times, { viewport: { width: 1280, height: 760 } });
    await demo.page.goto('/demo');
    const sides = [demo.page.frameLocator('iframe').first(), demo.page.frameLocator('iframe').last()];
    for (const side of sides) await connected(side);
    for (const [select, mode] of [['first', 'wal'], ['last', 'api']]) {
        const choice = demo.page.getByLabel('Messages by')[select]();
        await choice.locator(`option[value="${mode}"]:not([disabled])`).waitFor({ state: 'attached' });
        await choice.selectOption(mode);
    }
    await write(sides[0], 'Can you see this on your side?');
    await line(sides[1], 'on your side').waitFor();
    await write(sides[1], 'Before I could blink.');
    await line(sides[0], 'before I could').waitFor();
    await line(sides[1], 'before I could').getByText('delivered').waitFor();
    await shoot(demo.page, 'demo');
} finally {
    await browser.close();
    await product.stop();
}
