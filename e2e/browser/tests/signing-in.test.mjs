// Coming in and going out: every way to sign in, and what one is told when it does not work.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected, goToRoom, reads, roomLink, sees, stage, texts, write } from '../browser.mjs';

const here = stage();

test('one click makes one of the seeded people', async (t) => {
    const { page } = await here.open(t, null);
    await page.waitForURL('**/login**');
    await page.getByRole('button', { name: /^Bob/ }).click();
    await page.waitForURL(here.product.origin + '/');
    await page.getByText('@bob').waitFor();
    await connected(page);
    await roomLink(page, 'General').waitFor();
});

test('the form signs in, and says why when the password is wrong', async (t) => {
    const window = await here.open(t, null, { page: '/login' });
    window.networkMayFail = true;
    const { page } = window;
    await page.getByLabel('Username').first().fill('carol');
    await page.getByLabel('Password').first().fill('something else');
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('alert').filter({ hasText: /password/i }).waitFor();
    assert.equal(await page.getByLabel('Username').first().inputValue(), 'carol');

    await page.getByLabel('Password').first().fill('roomcast');
    await page.getByLabel('Password').first().press('Enter');
    await page.waitForURL(here.product.origin + '/');
    await page.getByText('@carol').waitFor();
});

test('a new account begins where it is told what to do first, and a name that is taken is said so', async (t) => {
    const window = await here.open(t, null, { page: '/login' });
    window.networkMayFail = true;
    const { page } = window;
    await page.getByText('New here? Make an account').click();
    const form = page.locator('form').filter({ has: page.getByRole('button', { name: 'Make the account' }) });
    await form.getByLabel('Username').fill('alice');
    await form.getByLabel('Name that others see').fill('Zoë Ŵ');
    await form.getByLabel('Password').fill('a long enough one');
    await form.getByRole('button').click();
    await form.getByRole('alert').filter({ hasText: /taken/i }).waitFor();
    await form.getByLabel('Username').fill('zoe');
    await form.getByRole('button').click();
    await page.getByRole('heading', { name: 'Welcome, Zoë Ŵ' }).waitFor();
    await page.getByText('You are in no room yet.').waitFor();
    await page.getByRole('link', { name: 'Discover rooms' }).last().click();
    await page.getByRole('heading', { name: 'Discover' }).waitFor();
    await page.getByRole('button', { name: 'Join General' }).click();
    await roomLink(page, 'General').waitFor();
});

test('an address that was wanted is where one comes after signing in', async (t) => {
    const alice = await here.product.signIn('alice');
    const { id } = await alice.createRoom('Wanted');
    const { page } = await here.open(t, null, { page: `/rooms/${id}` });
    await page.waitForURL('**/login?**');
    await page.getByRole('button', { name: /^Alice/ }).click();
    await page.getByRole('heading', { level: 1, name: 'Wanted' }).waitFor();
});

test('an address elsewhere is not where one comes after signing in', async (t) => {
    const { page } = await here.open(t, null, { page: '/login?next=//example.org/' });
    await page.getByRole('button', { name: /^Alice/ }).click();
    await page.waitForURL(here.product.origin + '/');
});

test('a session that ended leads to the sign-in page with a word; the text is kept and sent once', async (t) => {
    const window = await here.open(t, 'alice');
    window.networkMayFail = true;
    const { page, person } = window;
    await page.getByRole('button', { name: 'New room' }).first().click();
    await page.getByRole('dialog').getByLabel('Name').fill('Interrupted');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'Interrupted' }).waitFor();
    await connected(page);
    await write(page, 'before');
    await sees(page, 'before');

    await person.call('POST', '/api/logout');
    await write(page, 'written when the session was gone');
    await page.getByText('Your session has ended').waitFor();
    // The page was led here by itself; its buttons work once its script has run.
    await page.waitForLoadState();
    await page.getByRole('button', { name: /^Alice/ }).click();
    await page.getByRole('heading', { level: 1, name: 'Interrupted' }).waitFor();
    await reads(page, ['before', 'written when the session was gone']);
    await page.locator('[data-state="delivered"]').nth(1).waitFor();
});

test('signing out in one tab is said there, and the other tab goes too when it is used', async (t) => {
    const window = await here.open(t, 'dave');
    window.networkMayFail = true;
    const other = await window.tab('/');
    await connected(other);
    await goToRoom(other, 'General');
    await other.waitForLoadState('networkidle');
    await window.page.getByRole('button', { name: 'Sign out' }).click();
    await window.page.getByText('You are signed out.').waitFor();
    await write(other, 'after');
    await other.getByText('Your session has ended').waitFor();
});

test('the page can be read without JavaScript', async (t) => {
    const { page } = await here.open(t, 'alice', { javaScriptEnabled: false });
    await page.getByRole('link', { name: /General/ }).click();
    await page.getByRole('heading', { level: 1, name: 'General' }).waitFor();
    assert.ok((await texts(page)).length >= 7);
    assert.match(await page.locator('noscript').last().innerText(), /writing needs it/);
});
