// What people write is text, everywhere; and the pages may load and run nothing that is not their own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { box, connected, goToRoom, reads, roomLink, stage, write } from '../browser.mjs';
import { until } from '../product.mjs';

const here = stage();

const NASTY = [
    '<script>globalThis.__hacked = true</script>',
    '<img src=x onerror="globalThis.__hacked = true">',
    '"><svg onload=globalThis.__hacked=true>',
    '</script><script>globalThis.__hacked = true</script>',
    '<!--<script>',
    'javascript:globalThis.__hacked=true',
    '[a](javascript:globalThis.__hacked=true)',
    '{{7*7}}${7*7}&lt;b&gt;&amp;\u2028\u202Eabc',
    'https://example.org/"onmouseover="globalThis.__hacked=true',
    'https://example.org/<script>',
];

test('what people write is shown as they wrote it, live and after a reload', async (t) => {
    const [alice, bob] = [await here.product.signIn('alice'), await here.product.signIn('bob')];
    const room = await alice.createRoom('Markup');
    await bob.call('POST', `/api/rooms/${room.id}/join`);
    const { page } = await here.open(t, 'alice', { page: `/rooms/${room.id}` });
    const reader = await here.open(t, 'bob', { page: `/rooms/${room.id}` });
    await Promise.all([connected(page), connected(reader.page)]);
    for (const text of NASTY) await write(page, text);
    for (const window of [page, reader.page]) {
        await reads(window, NASTY);
        await window.reload();
        await reads(window, NASTY);
        await connected(window);
        await reads(window, NASTY);
        assert.equal(await window.evaluate(() => globalThis.__hacked), undefined);
        const addresses = await window.getByRole('log').getByRole('link').evaluateAll((links) => links.map(({ href }) => href));
        assert.ok(addresses.length > 0 && addresses.every((href) => href.startsWith('https://example.org/')), addresses.join(' '));
        assert.equal(await window.getByRole('log').locator('script, img, [onerror], [onload], [onmouseover]').count(), 0);
    }
});

test('names of rooms and people are text everywhere they appear', async (t) => {
    const name = '<img src=x onerror="globalThis.__hacked=1"></script>';
    const registered = await fetch(`${here.product.origin}/api/register`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ username: 'mallory', name, password: 'a long enough one' }),
    });
    assert.equal(registered.status, 201);
    const window = await here.open(t, null, { page: '/login' });
    const { page } = window;
    await window.setSession(registered.headers.getSetCookie()[0].split(';')[0]);
    await page.goto('/');
    await page.getByRole('heading', { name: `Welcome, ${name}` }).waitFor();
    await page.getByRole('button', { name: 'New room' }).first().click();
    await page.getByRole('dialog').getByLabel('Name').fill(name);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name, exact: true }).waitFor();
    await connected(page);
    await write(page, 'hello');
    await page.getByRole('button', { name: 'Members' }).click();
    await page.getByRole('complementary', { name: 'Members' }).getByText(name).waitFor();
    await box(page).fill(`${name} draft`);
    await page.keyboard.press('Control+k');
    await page.getByRole('option', { name }).waitFor();
    await page.keyboard.press('Escape');
    await page.reload();
    await connected(page);
    await until(async () => (await box(page).inputValue()) === `${name} draft`, 'the draft');
    await goToRoom(page, name);

    const reader = await here.open(t, 'bob', { page: '/discover?q=img' });
    await reader.page.getByRole('button', { name: `Join ${name}` }).click();
    await roomLink(reader.page, name).waitFor();
    await reader.page.getByRole('searchbox').fill('<b>nothing</b>');
    await reader.page.getByText('No room is called “<b>nothing</b>”').waitFor();
    await goToRoom(reader.page, name);
    await reader.page.getByRole('log').getByText(`${name} created the room`).waitFor();
    for (const tab of [page, reader.page]) assert.equal(await tab.evaluate(() => globalThis.__hacked), undefined);
});

test('every page has a strict policy and loads nothing against it', async (t) => {
    const window = await here.open(t, 'alice');
    const general = (await window.person.call('GET', '/api/rooms')).rooms[0].id;
    for (const path of ['/', '/discover', `/rooms/${general}`, '/demo', '/login', '/api/docs']) {
        const answer = await window.page.goto(path);
        assert.equal(answer.status(), 200, path);
        const policy = answer.headers()['content-security-policy'] ?? '';
        assert.match(policy, /default-src 'none'/, path);
        // The API's page styles itself as it goes; no page runs a script that is not a file of ours.
        assert.doesNotMatch(path === '/api/docs' ? policy.replace(/style-src[^;]*/, '') : policy, /unsafe|\*/, path);
        assert.equal(answer.headers()['x-content-type-options'], 'nosniff');
        await window.page.waitForLoadState('networkidle');
    }
});

test('an address in a message cannot reach the page that opened it', async (t) => {
    const { page } = await here.open(t, 'alice');
    await goToRoom(page, 'General');
    await connected(page);
    await write(page, `see ${here.product.origin}/login`);
    const link = page.getByRole('log').getByRole('link', { name: /login/ });
    const [opened] = await Promise.all([page.waitForEvent('popup'), link.click()]);
    await opened.waitForLoadState();
    assert.equal(await opened.evaluate(() => globalThis.opener), null);
});
