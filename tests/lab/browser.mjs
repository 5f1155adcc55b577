// Drives a headless Chromium for tests/lab/browser.py:
//
//     node browser.mjs FOLDER SOCKET CHROMIUM [FLAG...]
//
// FOLDER has node_modules with playwright-core and axe-core. One client connects to the
// Unix socket, writes a JSON object a line, {"do", "page", ...}, and gets one a line
// back: {"value"} or {"error"}. When it leaves, the browser ends, and this.
import {readFileSync} from "node:fs";
import {createRequire} from "node:module";
import {createServer} from "node:net";
import {createInterface} from "node:readline";

const [folder, socket, executablePath, ...args] = process.argv.slice(2);
const require = createRequire(folder + "/node_modules/");
const {chromium} = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const MOST_TOLD = 1000;
const LOOK_MS = 50;

const browser = await chromium.launch({executablePath, args});
const pages = new Map();
let opened = 0;
let ending = false;

function tell(told, text) {
    told.push(String(text).slice(0, 2000));
    if (told.length > MOST_TOLD) told.shift();
}

async function open({viewport, locale, scheme}) {
    const context = await browser.newContext({
        viewport, locale, colorScheme: scheme, acceptDownloads: true});
    const page = await context.newPage();
    const told = {console: [], errors: [], reports: [], dialogs: [], failed: []};
    // From outside the page's own policy, so that it works under every policy.
    await page.exposeBinding("labReport", (_, report) => tell(told.reports, report));
    await page.addInitScript(() => {
        addEventListener("securitypolicyviolation", (event) => window.labReport(
            `${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
    });
    page.on("console", (message) => tell(
        message.type() === "error" ? told.errors : told.console,
        `${message.type()}: ${message.text()} (${message.location().url})`));
    page.on("pageerror", (error) => tell(told.errors, error.stack ?? error));
    page.on("requestfailed", (request) => tell(
        told.failed, `${request.url()} ${request.failure()?.errorText}`));
    page.on("dialog", (dialog) => {
        tell(told.dialogs, dialog.message());
        dialog.dismiss().catch(() => {});
    });
    pages.set(++opened, {page, context, told});
    return opened;
}

function first(page, at) {
    return pages.get(page).page.locator(at).first();
}

async function until(true_, ms) {
    const deadline = Date.now() + ms;
    for (;;) {
        let last;
        try {
            last = await true_();
        } catch (error) {
            // a page that is being loaded has nothing to look at
            if (Date.now() > deadline) throw error;
        }
        if (last || Date.now() > deadline) return last ?? null;
        await new Promise((later) => setTimeout(later, LOOK_MS));
    }
}

const ACTS = {
    open,
    close: async ({page}) => {
        const {context} = pages.get(page);
        pages.delete(page);
        await context.close();
    },
    goto: async ({page, url, ms}) => {
        const answer = await pages.get(page).page.goto(
            url, {timeout: ms, waitUntil: "load"});
        return answer?.status() ?? 0;
    },
    reload: async ({page, ms}) => {
        await pages.get(page).page.reload({timeout: ms, waitUntil: "load"});
    },
    click: ({page, at, ms}) => first(page, at).click({timeout: ms}),
    fill: ({page, at, text, ms}) => first(page, at).fill(text, {timeout: ms}),
    choose: ({page, at, text, ms}) => first(page, at).selectOption(text, {timeout: ms}),
    press: ({page, keys}) => pages.get(page).page.keyboard.press(keys),
    text: ({page, at, ms}) => first(page, at).innerText({timeout: ms}),
    enabled: ({page, at, ms}) => first(page, at).isEnabled({timeout: ms}),
    texts: ({page, at}) => pages.get(page).page.locator(at).allInnerTexts(),
    count: ({page, at}) => pages.get(page).page.locator(at).count(),
    evaluate: ({page, code}) => pages.get(page).page.evaluate(code),
    until: ({page, code, ms}) => until(() => pages.get(page).page.evaluate(code), ms),
    resize: ({page, viewport}) => pages.get(page).page.setViewportSize(viewport),
    scheme: ({page, scheme}) => pages.get(page).page.emulateMedia(
        {colorScheme: scheme}),
    screenshot: async ({page, path}) => {
        await pages.get(page).page.screenshot({path});
    },
    download: async ({page, at, path, ms}) => {
        const coming = pages.get(page).page.waitForEvent("download", {timeout: ms});
        await Promise.all([coming, first(page, at).click({timeout: ms})]);
        const download = await coming;
        await download.saveAs(path);
        return download.suggestedFilename();
    },
    axe: async ({page}) => {
        const {page: where} = pages.get(page);
        // No script tag: the page's policy would refuse it.
        await where.evaluate(axe);
        const {violations} = await where.evaluate(
            "axe.run(document, {resultTypes: ['violations']})");
        return violations.map(({id, help, nodes}) => ({
            id, help, at: nodes.map(({target, failureSummary}) =>
                `${target.join(" ")}: ${failureSummary}`)}));
    },
    told: ({page}) => pages.get(page).told,
    cookies: ({page}) => pages.get(page).context.cookies(),
    // Garbage gone first, or the count is of what was, not of what is kept.
    weight: async ({page}) => {
        const {page: where, context} = pages.get(page);
        const session = await context.newCDPSession(where);
        try {
            await session.send("HeapProfiler.collectGarbage");
            const {usedSize} = await session.send("Runtime.getHeapUsage");
            const {nodes, jsEventListeners} =
                await session.send("Memory.getDOMCounters");
            return {bytes: usedSize, nodes, listeners: jsEventListeners};
        } finally {
            await session.detach();
        }
    },
};

const server = createServer((client) => {
    server.close();
    client.on("error", () => {});
    client.on("close", () => {
        ending = true;
        setTimeout(() => process.exit(1), 5000).unref();
        browser.close();
    });
    let before = Promise.resolve();
    createInterface({input: client}).on("line", (line) => {
        before = before.then(async () => {
            let answer;
            try {
                const asked = JSON.parse(line);
                answer = {value: (await ACTS[asked.do](asked)) ?? null};
            } catch (error) {
                answer = {error: String(error.message ?? error)};
            }
            client.write(JSON.stringify(answer) + "\n");
        });
    });
});
browser.on("disconnected", () => process.exit(ending ? 0 : 1));
server.listen(socket, () => console.log("listening"));
