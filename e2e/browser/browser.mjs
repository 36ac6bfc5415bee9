// People at their browsers: real windows in Chromium, and a note of everything that must not happen in them.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';
import { Product, until } from './product.mjs';

const FLAGS = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
/** How long a page may take for one thing, on a machine that is busy with others. */
const PATIENCE = 30_000;
/** What Chromium itself writes when a request fails: to be expected where a test breaks the network or is refused. */
const NETWORK = /^Failed to load resource|^WebSocket connection to/;

function executable() {
    const known = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/usr/bin/google-chrome-stable'];
    const found = process.env.CHROMIUM || known.find(existsSync);
    if (!found) throw new Error('no Chromium: install it, or name it in CHROMIUM');
    return found;
}

export function launch(...more) {
    // Chromium has no sandbox for root.
    const args = [...FLAGS, ...more, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])];
    return chromium.launch({ executablePath: executable(), args });
}

/** A product and a browser for the tests of one file. */
export function stage() {
    const stage = {
        /** A window of a browser of one's own, signed in as `username` unless null. It is closed, and judged, after the test. */
        async open(t, username, options = {}) {
            const window = await Window.open(stage.browser, stage.product, username, options);
            t.after(() => window.close());
            return window;
        },
    };
    before(async () => ([stage.product, stage.browser] = await Promise.all([Product.start(), launch()])));
    after(async () => {
        await stage.browser?.close();
        await stage.product?.stop();
    });
    return stage;
}

/** One person's browser: its tabs share cookies and storage. */
export class Window {
    #trouble = [];
    /** Set by tests that break the network or make the server refuse: then the browser may complain about that. */
    networkMayFail = false;

    static async open(browser, product, username, { page: path = '/', ...options } = {}) {
        const window = new Window();
        window.product = product;
        window.context = await browser.newContext({ baseURL: product.origin, viewport: { width: 1280, height: 800 }, locale: 'en-GB', ...options });
        window.context.setDefaultTimeout(PATIENCE);
        await window.#watch();
        if (username !== null) {
            window.person = await product.signIn(username);
            await window.setSession(window.person.cookie);
        }
        window.page = await window.tab(path);
        return window;
    }

    async setSession(cookie) {
        const [name, value] = cookie.split('=');
        await this.context.addCookies([{ name, value, url: this.product.origin, httpOnly: true, sameSite: 'Lax' }]);
    }

    /** Another tab of the same person. */
    async tab(path = '/') {
        const page = await this.context.newPage();
        await page.goto(path);
        return page;
    }

    /** Closes it; fails when something happened in it that must not happen. */
    async close() {
        await this.context.close();
        assert.deepEqual(this.#trouble, [], 'trouble in the browser');
    }

    async #watch() {
        const { context } = this;
        const { host } = new URL(this.product.origin);
        const note = (what) => this.#trouble.push(what);
        const sameHost = (url) => {
            const address = new URL(url);
            if (address.host !== host && !['data:', 'blob:', 'about:'].includes(address.protocol)) note(`another host: ${url}`);
        };
        await context.exposeBinding('__violation', (_, words) => note(`policy: ${words}`));
        await context.addInitScript(() => {
            addEventListener('securitypolicyviolation', (event) =>
                globalThis.__violation(`${event.effectiveDirective} ${event.blockedURI} on ${location.pathname}`));
        });
        context.on('request', (request) => sameHost(request.url()));
        context.on('page', (page) => page.on('websocket', (socket) => sameHost(socket.url())));
        context.on('weberror', (error) => note(`uncaught: ${error.error().stack}`));
        context.on('console', (message) => {
            if (!['error', 'warning'].includes(message.type())) return;
            if (!(this.networkMayFail && NETWORK.test(message.text()))) note(`console: ${message.text()}`);
        });
    }
}

// What a person sees and does on the chat page. `page` may be a frame as well. ---------------------------------------

/** The room's timeline as a person reads it: every text, top to bottom. */
export const texts = (page) => page.getByRole('log').locator('.text').allTextContents();

/** Waits until the page is live, not only readable. */
export const connected = (page) => page.locator('html[data-connection="connected"]').waitFor({ state: 'attached' });

export async function goToRoom(page, name) {
    await roomLink(page, name).click();
    await page.getByRole('heading', { level: 1, name, exact: true }).waitFor();
}

/** The room's line in the list at the left. */
export const roomLink = (page, name) =>
    page.getByRole('navigation', { name: 'My rooms' }).getByRole('link').filter({ has: page.getByText(name, { exact: true }) });

export const box = (page) => page.getByRole('textbox', { name: /^Write to/ });

export async function write(page, text) {
    await box(page).fill(text);
    await box(page).press('Enter');
}

export const line = (page, text) => page.getByRole('log').locator('.message', { hasText: text });

export const sees = (page, text) => line(page, text).first().waitFor();

/** Waits until the timeline's texts are exactly these, and says what they are if not. */
export async function reads(page, expected, what = 'the timeline') {
    let seen;
    await until(async () => JSON.stringify((seen = await texts(page))) === JSON.stringify(expected), what).catch((error) => {
        assert.deepEqual(seen, expected, error.message);
    });
}

export const status = (page, words) => page.locator('[data-status-words]:visible', { hasText: words }).first();

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What axe finds against WCAG A and AA, in words. */
export async function findings(page) {
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() =>
        globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
    return violations.flatMap(({ id, nodes }) =>
        nodes.map(({ target, failureSummary }) => `${id}: ${target.join(' ')}: ${failureSummary.replace(/\s+/g, ' ')}`));
}
