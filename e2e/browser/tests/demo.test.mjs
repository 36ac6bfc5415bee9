// Two people side by side in one window, each with a session of their own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { box, connected, line, roomLink, sees, stage, write } from '../browser.mjs';
import { until } from '../product.mjs';

const here = stage();

async function sides(page) {
    const frames = [page.frameLocator('iframe').first(), page.frameLocator('iframe').last()];
    for (const frame of frames) {
        await connected(frame);
        await box(frame).waitFor();
    }
    return frames;
}

test('the side-by-side view shows two people, and a message goes across both ways', async (t) => {
    const { page } = await here.open(t, null, { page: '/demo' });
    const [left, right] = await sides(page);
    await write(left, 'from the left');
    await sees(right, 'from the left');
    await write(right, 'from the right');
    await sees(left, 'from the right');
    await line(left, 'from the left').getByText('delivered').waitFor();
    assert.equal(await line(left, 'from the left').count(), 1);
    assert.equal(await line(right, 'from the left').count(), 1);
});

test('each side stays its person when one walks through its rooms, and can become another', async (t) => {
    const { page } = await here.open(t, null, { page: '/demo' });
    const [left, right] = await sides(page);
    const name = (frame) => frame.locator('.me-words strong').textContent();
    const [first, second] = [await name(left), await name(right)];
    assert.notEqual(first, second);
    await page.getByLabel('Signed in as').first().selectOption({ label: 'Dave' });
    await until(async () => (await name(left)) === 'Dave', 'the left side is Dave');
    await sides(page);
    await write(left, 'Dave was here');
    await sees(right, 'Dave was here');
    // The same person twice makes no sense: the other side gives way.
    await page.getByLabel('Signed in as').last().selectOption({ label: 'Dave' });
    await until(async () => (await name(right)) === 'Dave' && (await name(left)) !== 'Dave', 'the right side is Dave');
});

test('each side chooses by which mode its next messages travel', async (t) => {
    const { page } = await here.open(t, null, { page: '/demo' });
    const [left, right] = await sides(page);
    const choose = async (side, mode) => {
        const select = page.getByLabel('Messages by')[side]();
        // A relay reports what it reads soon after its start, and the view asks every few seconds.
        await select.locator(`option[value="${mode}"]:not([disabled])`).waitFor({ state: 'attached' });
        await select.selectOption(mode);
    };
    await choose('first', 'wal');
    await choose('last', 'api');
    assert.equal(await page.getByLabel('Messages by').first().locator('option[value="cdc"]').isDisabled(), true);
    for (const [side, text, mode] of [[left, 'Left chose', 'wal'], [right, 'Right chose', 'api']]) {
        await write(side, text);
        for (const reader of [left, right]) await line(reader, text).getByText(`by ${mode}`, { exact: true }).waitFor();
    }
    await page.getByLabel('Messages by').first().selectOption('everybody’s mode');
    await write(left, 'Left as everybody');
    for (const reader of [left, right]) await line(reader, 'Left as everybody').getByText('by outbox', { exact: true }).waitFor();
    for (const side of [left, right]) await side.getByRole('button', { name: /^Messages travel by outbox/ }).waitFor();
});

test('the side-by-side view does not sign in the browser itself', async (t) => {
    const { page } = await here.open(t, null, { page: '/demo' });
    await sides(page);
    await page.goto('/');
    await page.getByRole('heading', { name: 'Come in and talk' }).waitFor();
});

test('who is signed in keeps their session beside the side-by-side view', async (t) => {
    const { page } = await here.open(t, 'dave', { page: '/demo' });
    await sides(page);
    await page.goto('/');
    await page.getByText('@dave').waitFor();
    await roomLink(page, 'General').waitFor();
});
