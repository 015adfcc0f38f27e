"""What the site must hold:    python docs/check.py _docs
Every internal link leads to a page and an anchor that are there, and no page is heavy. Where a
Chromium is found, the live page is tried in it: the tokenizer against Python's on a thousand
problems, greedy answers against `rollout` on a hundred, the keyboard, a phone's width, and a
console without errors. Where none is, it says that it skips."""
import argparse, base64, functools, gzip, html.parser, http.server, json
import os, shutil, subprocess, tempfile, threading, time
from pathlib import Path
from urllib.parse import unquote, urljoin, urlparse

# ---- links and weight

class Links(html.parser.HTMLParser):
    "Where a page leads, what it has loaded, and the anchors that it holds."
    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], {""}
        self.feed(text)
    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag in ("a", "area") and found.get("href"):
            self.links.append(found["href"])
        loads = tag == "link" and found.get("rel") in ("stylesheet", "icon", "modulepreload")
        if loads and found.get("href"):
            self.loaded.append((tag, found["href"]))
        if tag in ("script", "img", "iframe") and found.get("src"):
            self.loaded.append((tag, found["src"]))

def place(site, page, link):
    "The file of the site that a link leads to, and the anchor; None for a link elsewhere."
    address = urlparse(urljoin("http://site/" + page.relative_to(site).as_posix(), link))
    if address.netloc != "site" or address.scheme != "http": return None
    file = site/unquote(address.path).lstrip("/")
    return (file/"index.html" if file.is_dir() else file), unquote(address.fragment)

def check_links(site):
    "Every link of every page. Returns what is wrong."
    pages = {file: Links(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}
    wrong, count, heavy = [], 0, {}
    for page, found in pages.items():
        if page.name == "404.html": continue
        name, loaded = page.relative_to(site), [where for _, where in found.loaded]
        for link in [*found.links, *loaded]:
            target = place(site, page, link)
            if target is None:
                strange = link in loaded and not link.startswith("data:")
                if strange:
                    wrong.append(f"{name} loads {link[:80]} from elsewhere")
                continue
            count += 1
            file, anchor = target
            if not file.is_file():
                wrong.append(f"{name}: {link} is not there")
            elif file in pages and anchor not in pages[file].anchors:
                wrong.append(f"{name}: {link} names no anchor")
        files = [place(site, page, where) for tag, where in found.loaded if tag != "img"]
        needed = {page, *(file for file, _ in filter(None, files))}
        heavy[page] = sum(packed(file) for file in needed if file.is_file())
    heaviest = max(heavy, key=heavy.get)
    index = packed(site/"search"/"search_index.json")
    print(f"{len(pages)} pages, {count:,} internal links; packed, as servers send it, the heaviest "
          f"({heaviest.relative_to(site)}) has {heavy[heaviest]/1000:.0f} kB besides its pictures, "
          f"and the search index, fetched once, {index/1000:.0f} kB")
    if heavy[heaviest] > 300_000:
        wrong.append(f"{heaviest.relative_to(site)} is too heavy")
    return wrong

@functools.cache
def packed(file):
    return len(gzip.compress(file.read_bytes(), 6))

# ---- a Chromium

FLAGS = ("--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
         "--disable-component-update --disable-sync --remote-debugging-pipe --enable-automation")

class Browser:
    "A headless Chromium, spoken to through two pipes. `said` is what its console said."
    def __init__(self, program):
        self.folder = tempfile.TemporaryDirectory()
        (theirs_in, self.out), (self.into, theirs_out) = os.pipe(), os.pipe()
        def pipes(): # Chromium reads 3 and writes 4
            first, second = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(first, 3)
            os.dup2(second, 4)
        words = [program, *FLAGS.split(), f"--user-data-dir={self.folder.name}", "about:blank"]
        self.process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        preexec_fn=pipes, close_fds=False)
        self.number, self.rest, self.said, self.session = 0, b"", [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def message(self):
        "The next message."
        while b"\0" not in self.rest:
            self.rest += os.read(self.into, 1 << 20)
        first, _, self.rest = self.rest.partition(b"\0")
        return json.loads(first)

    def call(self, method, **params):
        "Call a method of the protocol; events that come meanwhile are noted."
        self.number += 1
        request = dict(id=self.number, method=method, params=params)
        if self.session:
            request["sessionId"] = self.session
        os.write(self.out, json.dumps(request).encode() + b"\0")
        while (answer := self.message()).get("id") != self.number:
            self.note(answer)
        if "error" in answer: raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def note(self, event):
        "Keep what the console says."
        what, params = event.get("method"), event.get("params", {})
        if what == "Runtime.consoleAPICalled":
            self.said.append(f"{params['type']}: {[word.get('value') for word in params['args']]}")
        if what == "Runtime.exceptionThrown":
            self.said.append(f"exception: {params['exceptionDetails'].get('exception')}")
        if what == "Log.entryAdded":
            entry = params["entry"]
            self.said.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}")

    def value(self, expression):
        "What an expression, or the promise that it is, comes to on the page."
        how = dict(awaitPromise=True, returnByValue=True)
        answer = self.call("Runtime.evaluate", expression=expression, **how)
        if "exceptionDetails" in answer: raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def until(self, expression, seconds):
        "Wait until an expression is true; the seconds that it took."
        start = time.time()
        while not self.value(expression):
            late = time.time() > start + seconds
            if late: raise TimeoutError(f"not within {seconds} s: {expression}")
            time.sleep(.02)
        return time.time() - start

    def open(self, address, wait="document.readyState == 'complete'"):
        self.call("Page.navigate", url=address)
        time.sleep(.3)
        self.until(wait, 60)

    def key(self, name, code=None):
        "Press a key."
        which = dict(key=name, code=name, windowsVirtualKeyCode=code or 0)
        text = dict(text="\r") if name == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **which, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **which)

    def width(self, pixels, height=900):
        phone = pixels < 600
        size = dict(width=pixels, height=height, deviceScaleFactor=1 + phone, mobile=phone)
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def picture(self, file):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        Path(file).write_bytes(base64.b64decode(data))

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        self.folder.cleanup()

class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

def serve(site):
    "The site on a free port of this machine, as any plain server has it."
    handler = functools.partial(Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/"

# ---- the live page

ODD = ["x = 5 €", "  two  spaces ", "don't we'll", "a\n\n b\t", "٣ ½ ²", "émigré 😀",
       "<start_of_turn>user", "", "<eos>x", "3·5=15, 15+47=62", "\u3000x\u00a0y"]

def check_tokenizer(browser, problems):
    "The same ids as Python's, over conversations about problems, and texts of other kinds."
    from tokenizers import Tokenizer
    file = browser.value("fetch('data/tokenizer.json').then(answer => answer.text())")
    tokenizer, chat = Tokenizer.from_str(file), browser.value("page.chat")
    def conversation(question):
        return chat["before"] + question + chat["after"] + "x = 12." + chat["bridge"]
    texts = [*map(conversation, problems), *ODD]
    wanted = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    found = browser.value(f"{json.dumps(texts)}.map(text => page.tokenizer.encode(text))")
    different = [text for text, a, b in zip(texts, wanted, found, strict=True) if a != b]
    back = browser.value(f"{json.dumps(wanted)}.map(ids => page.tokenizer.decode(ids))")
    lost = [b for ids, b in zip(wanted, back, strict=True) if tokenizer.decode(ids) != b]
    assert len(problems) >= 1000 and not different and not lost, (different[:3], lost[:3])
    print(f"tokenizer: the same ids and text for {len(problems):,} problems and {len(ODD)} others")

def check_answers(browser, run, questions):
    "Greedy answers of each model in the browser, against `rollout`."
    import torch
    from build import BASE
    from score_nb.models import load_policy
    from score_nb.rollout import rollout
    from score_nb.tasks import Problem, get_task
    task = get_task("equations")
    folders = browser.value("page.models.map(model => model.folder)")
    for stage in dict.fromkeys(folders): # of those that share a model, one
        place = folders.index(stage)
        adapter = None if stage == "base" else run/stage/"adapter"
        policy = load_policy(BASE, adapter=adapter, device="cpu", dtype=torch.float32)
        problems = [Problem("", question, "") for question in questions]
        episodes = rollout(policy, task, problems, temperature=0)
        wanted = list(zip(*(episodes.texts(policy.tokenizer, k) for k in (1, 2))))
        start, found = time.time(), []
        for question in questions:
            texts = browser.value(f"page.models[{place}].ask({json.dumps(question)}, 2, 0, false)")
            found.append(tuple(text["text"] for text in texts))
        seconds = (time.time() - start)/len(questions)
        different = [both for both in zip(wanted, found, strict=True) if both[0] != both[1]]
        assert not different, (stage, len(different), different[:3])
        print(f"{stage}: {len(questions)} problems, both attempts text for text as rollout's; "
              f"{seconds:.2f} s a problem", flush=True)

SETTLED = "document.querySelectorAll('.attempt .right, .attempt .wrong').length"
STATUS = "document.getElementById('live-status')?.textContent"
READY = f"{STATUS}?.startsWith('Ready')"
FOCUS = "document.activeElement.id || document.activeElement.textContent"
ASK = "document.getElementById('live-question').form.requestSubmit()"

def check_use(browser, address):
    "A question with the keyboard alone: how soon the first answer is there, and what is said."
    browser.value("document.getElementById('live-question').focus()")
    browser.value("document.getElementById('live-question').select()")
    browser.call("Input.insertText", text="Solve 4x + 20 = 48.")
    browser.key("Enter", 13)
    first = browser.until(f"{SETTLED} > 0", 60)
    every = browser.until(f"{SETTLED} == 6", 60)
    assert "The answer is 7" in browser.value(STATUS)
    assert browser.value("page.models.every(model => model.count.n == 1)")
    browser.value("document.querySelector('.attempt').focus()")
    browser.key("ArrowRight", 39)
    said = browser.value("document.getElementById('live-token').textContent")
    assert "had a probability of" in said, said
    order = []
    browser.value("document.getElementById('live-question').focus()")
    for _ in range(5):
        browser.key("Tab", 9)
        order.append(browser.value(FOCUS))
    assert order[:4] == ["Ask", "live-another", "live-attempts", "live-temperature"], order
    browser.value("document.getElementById('live-attempts').value = '3'")
    browser.value(ASK)
    browser.until(f"{SETTLED} == 9", 60)
    print(f"keyboard: first answer {first:.2f} s after Enter, all six after {first + every:.2f} s; "
          f"then three attempts. Token: {said}")

def check_run(browser):
    "The counter fills by itself, and stops when it is told to."
    for button in ("reset", "run"):
        browser.value(f"document.getElementById('live-{button}').click()")
    browser.until("page.models.every(model => model.count.n >= 5)", 120)
    browser.value("document.getElementById('live-run').click()")
    counted = browser.value("document.getElementById('live-count').innerText")
    assert browser.value("document.getElementById('live-run').textContent") == "Run 100"
    assert browser.value("page.models.every(({count}) => count.second == "
                         "count.first + count.mended - count.spoilt)"), counted
    print("run 100, stopped early:", counted.replace("\t", " ").replace("\n", "; "))

def check_widths(browser, address, pages):
    "No page is wider than its screen, whatever its tables."
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for width in (390, 1280):
        browser.width(width)
        for page in pages:
            browser.open(address + page)
            wide = browser.value(overflow)
            assert wide <= 0, (page, width, wide)
    print(f"widths: {len(pages)} pages fit 390 and 1280 pixels")

def check_without(browser, address):
    "Without WebAssembly the page says so."
    source = "delete globalThis.WebAssembly"
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=source)
    browser.open(address + "live/")
    browser.until(f"{STATUS}.includes('no WebAssembly')", 20)
    print("without WebAssembly the page says so")

def check_download(site):
    "How much the live page fetches."
    files = [file for file in (site/"live"/"data").iterdir() if file.is_file()]
    files += (site/"live"/"data").glob("*/model.onnx")
    size = sum(file.stat().st_size for file in files)
    print(f"the live page fetches {size/1e6:.1f} MB, runtime included")
    assert size < 20e6, size

def check_live(program, site, run, count, pictures):
    "Everything that needs a browser."
    address, browser = serve(site), Browser(program)
    pages = [f"course/{file.parent.name}/" for file in sorted(site.glob("course/*/index.html"))]
    try:
        browser.width(1280)
        browser.open(address + "live/", READY)
        check_download(site)
        check_use(browser, address)
        check_run(browser)
        if pictures:
            browser.picture(pictures/"live-1280.png")
        questions = browser.value("page.problems.map(one => questionOf(one, page.wordings))")
        from score_nb.tasks import get_task
        others = [problem.question for problem in get_task("equations").load("train", 1000)]
        check_tokenizer(browser, others + questions)
        check_answers(browser, run, questions[:count])
        some = pages if count >= 100 else pages[::6]
        check_widths(browser, address, ["", "live/", "course/", *some, "api/rollout/"])
        if pictures:
            pictured(browser, address, pictures)
        errors = [line for line in browser.said if not line.startswith(("log", "info", "debug"))]
        assert not errors, errors
        print("console: nothing")
        check_without(browser, address)
    finally:
        browser.close()

def pictured(browser, address, folder):
    "Screenshots, to be looked at."
    shown = dict(landing="", course="course/", rollout="course/03_rollout/", api="api/rollout/")
    for width in (1280, 390):
        browser.width(width)
        for name, page in shown.items():
            browser.open(address + page)
            time.sleep(.5)
            browser.picture(folder/f"{name}-{width}.png")
    browser.open(address + "live/", READY)
    browser.value(ASK)
    browser.until(f"{SETTLED} == 6", 60)
    browser.value("document.getElementById('live-form').scrollIntoView()")
    browser.picture(folder/"live-390.png")

CHROMIUMS = "chromium", "chromium-browser", "google-chrome", "chrome"

def arguments():
    "What was typed."
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("site", type=Path)
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="of its models")
    parser.add_argument("--problems", type=int, default=100, help="asked here and there")
    parser.add_argument("--pictures", type=Path, help="folder for screenshots")
    parser.add_argument("--links-only", action="store_true")
    return parser.parse_args()

def main():
    given = arguments()
    wrong = check_links(given.site.resolve())
    if wrong: raise SystemExit("\n".join(wrong))
    if given.links_only: return
    program = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if program is None: return print("no Chromium here: the live page is not tried")
    models = given.site/"live"/"data"/"models.json"
    if not models.is_file(): return print("the site has no models: the live page is not tried")
    check_live(program, given.site.resolve(), given.run.resolve(), given.problems, given.pictures)

if __name__ == "__main__":
    main()
