"""Ours against what one would use instead, measured in pairs, in turns, in one process. See benchmarks.ipynb for what the numbers say.

  pip install -e '.[bench]'
  python benchmarks/bench.py                  all of them, about half an hour on two cores
  python benchmarks/bench.py update attempts  some of them

Each writes results/NAME.jsonl: a row a measurement, with the machine's name in the first row.
"""
import ctypes, gc, os, platform, socket, subprocess, sys, tempfile, threading, time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
import torch
from accelerate import Accelerator
from peft import get_peft_model
from tqdm import tqdm
from transformers import Gemma3ForCausalLM, Gemma3TextConfig
from transformers.utils import logging
from score_nb import train as loop
from score_nb.core import default_dtype, named_generator, named_seed, read_jsonl, to_jsonl, versions, write_atomic
from score_nb.models import Policy, load_policy, new_lora
from score_nb.reinforce import advantages, episode_loss, kl_per_token
from score_nb.rollout import Episodes, rollout
from score_nb.stages import own, stage_one, stage_two
from score_nb.tasks import Equations
from score_nb.train import TrainConfig, problems_for_step, update

logging.set_verbosity_error()
HERE, TASK = Path(__file__).parent, Equations()
TRIM = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)

# Gemma 3 270M's real shape; the weights are random, which changes no cost
GEMMA_270M = dict(vocab_size=262_144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=4, num_key_value_heads=1, head_dim=256,
                  query_pre_attn_scalar=256, sliding_window=512, max_position_embeddings=32_768, layer_types=(["sliding_attention"]*5 + ["full_attention"])*3,
                  tie_word_embeddings=True)

def random_gemma(shape=GEMMA_270M):
    "A policy of that shape with LoRA of rank 16, the embedded model's tokenizer, and an adapter that is not zero. It never ends an attempt by itself."
    tiny = load_policy()
    torch.manual_seed(0)
    model = Gemma3ForCausalLM(Gemma3TextConfig(**shape, eos_token_id=1, pad_token_id=0)).requires_grad_(False).eval()
    policy = Policy(get_peft_model(model, new_lora(model, 16)).eval(), tiny.tokenizer, "random")
    with torch.no_grad():
        for name, p in policy.parameters().items():
            if "lora_B" in name: p.copy_(.02*torch.randn(p.shape, generator=named_generator("shaken", name)))
    policy.stop = (-1,)
    return policy

class Long(Equations):
    "Prompts of as many tokens as wanted, for policies that are not expected to understand them."
    def __init__(self, tokens): self.tokens = tokens
    def prompt(self, problem): return [{"role": "user", "content": " ".join(["12345"]*(self.tokens//6)) + " " + problem.question}]
    def grade(self, text, problem): return 0.

# ---- measuring
def seconds(f, *args):
    gc.collect()
    start = time.perf_counter(); f(*args)
    return time.perf_counter() - start

class Peak:
    "The most memory this process held while inside, above what it held before, in MB."
    def __enter__(self):
        gc.collect(); TRIM(0)                                                          # give back what is free, or it would not count
        self.base, self.top, self.on = self.now(), 0, True
        self.thread = threading.Thread(target=self.watch); self.thread.start()
        return self
    def now(self): return int(Path("/proc/self/statm").read_text().split()[1])*os.sysconf("SC_PAGE_SIZE")/1e6
    def watch(self):
        while self.on: self.top = max(self.top, self.now()); time.sleep(.002)
    def __exit__(self, *_): self.on = False; self.thread.join(); self.mb = self.top - self.base

def in_turns(pairs, versions, label, **facts):
    "Rows of seconds, {version: f(i)} called in turns, the first time for nothing. The order alternates."
    rows = []
    for i in tqdm(range(pairs + 1), desc=label, mininterval=2):
        order = list(versions.items())[::1 if i % 2 else -1]
        row = {name: seconds(f, i) for name, f in order}
        if i: rows.append({**facts, **{k: round(v, 4) for k, v in row.items()}})
    return rows

# ---- rollouts
@torch.no_grad()
def generate_twice(policy, task, problems, samples, limit, attempts=2):
    "An attempt is a call of transformers' generate on the whole context: what implementations do. Lists of ids, so that no text is tokenised again."
    stop, end = [t for t in policy.stop if t >= 0] or None, policy.end
    bridge = policy.bridge_ids(task.prompt(problems[0]), task.correction)
    contexts = [ids for p in problems for ids in [policy.prompt_ids(task.prompt(p))]*samples]
    for k in range(attempts):
        batch = policy.tokenizer.pad({"input_ids": contexts}, padding_side="left", return_tensors="pt").to(policy.device)
        out = policy.model.generate(**batch, do_sample=True, temperature=1., top_k=0, top_p=1., max_new_tokens=limit, eos_token_id=stop, pad_token_id=0)
        new = [[t for t in row if t] for row in out[:, batch["input_ids"].shape[1]:].tolist()]
        contexts = [c + y + [end]*(y[-1:] != [end]) + bridge for c, y in zip(contexts, new)]

def trl_trainer(folder, problems, samples, limit, policy, kind, **more):
    "A trainer of trl on the embedded model with the same adapter shape."
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from score_nb.core import data_path
    answers = {p.question: p for p in problems}
    def graded(prompts, completions, **_): return [TASK.grade(c[0]["content"], answers[p[0]["content"]]) for p, c in zip(prompts, completions)]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(data_path("tiny")), AutoTokenizer.from_pretrained(data_path("tiny"), eos_token="<end_of_turn>")
    config, trainer = (GRPOConfig, GRPOTrainer) if kind == "grpo" else (RLOOConfig, RLOOTrainer)
    rows, samples = more.pop("rows", 2*len(problems)), max(samples, 2) # generation alone does not look at them, but 1 is refused
    args = config(output_dir=folder, use_cpu=policy.device.type == "cpu", bf16=False, fp16=False, report_to="none", save_strategy="no", gradient_checkpointing=False, dataloader_pin_memory=False,
                  per_device_train_batch_size=rows, num_generations=samples, max_completion_length=limit, temperature=1., top_k=0, learning_rate=5e-4, beta=.01,
                  lr_scheduler_type="constant", max_grad_norm=1., logging_strategy="no", disable_tqdm=True, **more.pop("args", {}))
    return trainer(model=model, reward_funcs=graded, args=args, processing_class=tokenizer, peft_config=new_lora(model, 16),
                   train_dataset=Dataset.from_list([{"prompt": TASK.prompt(p)} for p in problems]), **more)

def two_turns(prompts, trainer):
    "A rollout_func for trl: two attempts, each by the trainer's own generation."
    tok = trainer.processing_class
    contexts = [tok.apply_chat_template(p, add_generation_prompt=True, tokenize=True, return_dict=False) for p in prompts]
    bridge = load_policy_once().bridge_ids(prompts[0], TASK.correction)
    first, lp1 = trainer._generate_single_turn(contexts, None, {}, 1)
    second, lp2 = trainer._generate_single_turn([c + y + bridge for c, y in zip(contexts, first)], None, {}, 1)
    return dict(prompt_ids=contexts, completion_ids=[a + bridge + b for a, b in zip(first, second)], logprobs=None, env_mask=[[1]*len(a) + [0]*len(bridge) + [1]*len(b) for a, b in zip(first, second)])

ONCE = []
def load_policy_once(): return ONCE[0] if ONCE else ONCE.append(load_policy()) or ONCE[0]

def bench_rollout():
    "Two attempts of the embedded model: ours, generate twice, trl's generation."
    policy, rows = load_policy_once(), []
    pool = TASK.load("train")
    for n, samples in ((4, 4), (16, 4), (64, 1), (64, 4), (256, 1)):
        of = lambda i: pool[i*n:(i + 1)*n]
        with tempfile.TemporaryDirectory() as folder:
            trl = trl_trainer(folder, pool[:n], 2, 64, policy, "grpo", rollout_func=two_turns)
            trl.model.train()
            versions = {"ours": lambda i: rollout(policy, TASK, of(i), samples=samples, seed=i), "generate": lambda i: generate_twice(policy, TASK, of(i), samples, 64),
                        "trl": lambda i: trl._generate([TASK.prompt(p) for p in of(i) for _ in range(samples)])}
            rows += in_turns(7, versions, f"rollout, {n} problems of {samples}", model="tiny", problems=n, samples=samples)
    return rows

def bench_rollout_270m():
    "Two attempts of 16 tokens at the shape of Gemma 3 270M, after prompts of 128."
    policy, task, rows = random_gemma(), Long(128), []
    pool = TASK.load("train")
    for n, samples in ((4, 4), (16, 4)):
        versions = {"ours": lambda i: rollout(policy, task, pool[i*n:(i + 1)*n], samples=samples, max_new_tokens=16, seed=i),
                    "generate": lambda i: generate_twice(policy, task, pool[i*n:(i + 1)*n], samples, 16)}
        rows += in_turns(3, versions, f"270M, {n} problems of {samples}", model="270M", problems=n, samples=samples)
    return rows

def bench_attempts():
    "What an attempt costs: 1 to 8 of them, and the second after prompts of several lengths. Attempts of 32 tokens, none ends early."
    policy, rows, pool = load_policy(), [], TASK.load("train")
    policy.stop = (-1,)
    for K in range(1, 9):
        rows += in_turns(5, {"ours": lambda i: rollout(policy, Long(24), pool[:32], K, max_new_tokens=32, seed=i),
                             "generate": lambda i: generate_twice(policy, Long(24), pool[:32], 1, 32, K)}, f"{K} attempts", what="attempts", attempts=K)
    for prompt in (32, 64, 128, 256, 512):
        rows += in_turns(7, {"one": lambda i: rollout(policy, Long(prompt), pool[:16], 1, max_new_tokens=32, seed=i), "two": lambda i: rollout(policy, Long(prompt), pool[:16], 2, max_new_tokens=32, seed=i),
                             "read again, one": lambda i: generate_twice(policy, Long(prompt), pool[:16], 1, 32, 1), "read again, two": lambda i: generate_twice(policy, Long(prompt), pool[:16], 1, 32, 2)},
                         f"prompt of {prompt}", what="prompt", prompt=prompt)
    policy = load_policy()
    for samples in (1, 2, 4, 8, 16, 32):
        rows += in_turns(5, {"ours": lambda i: rollout(policy, TASK, pool[i*8:i*8 + 8], samples=samples, seed=i), "generate": lambda i: generate_twice(policy, TASK, pool[i*8:i*8 + 8], samples, 64)},
                         f"{samples} samples", what="samples", samples=samples)
    return rows

# ---- updates
def made_up(policy, B, prompt, attempt, bridge=30):
    "Episodes of two attempts, of these lengths, with random tokens."
    T = prompt + 2*attempt + bridge
    turn = torch.zeros(B, T, dtype=torch.int8); turn[:, prompt:prompt + attempt] = 1; turn[:, -attempt:] = 2
    ids = torch.randint(6, policy.config.vocab_size, (B, T), generator=named_generator("made up"))
    return Episodes(ids, turn, torch.zeros(B, T), torch.tensor([[i % 2, 1 - i % 2] for i in range(B)]).float(), torch.zeros(B, 2, dtype=torch.bool), torch.arange(B)//2, torch.arange(B))

def four_forwards(policy, episodes, advantage, beta, exact=True):
    "The loss as it is usually computed: for each attempt a forward pass of the policy and one of the reference, with all logits. KL exact, or the sampled estimate that needs fewer arrays."
    loss = 0.
    for k in (1, 2):
        n = int((episodes.turn == k).nonzero()[:, 1].max()) + 1
        ids, mine = episodes.ids[:, :n], (episodes.turn[:, 1:n] == k).float()
        logp = torch.log_softmax(policy.lm(ids, use_cache=False).logits[:, :-1].float(), -1)
        with torch.no_grad(), policy.reference(): ref = torch.log_softmax(policy.lm(ids, use_cache=False).logits[:, :-1].float(), -1)
        chosen, chosen_ref = (x.gather(-1, ids[:, 1:, None])[..., 0] for x in (logp, ref))
        kl = kl_per_token(logp, ref) if exact else (chosen_ref - chosen).exp() - (chosen_ref - chosen) - 1
        loss = loss + (-(advantage[:, k - 1:k]*chosen) + beta[k - 1]*kl).mul(mine).sum()
    return loss/len(ids)

def bench_update():
    "Loss and gradient of two attempts of 128 tokens at the shape of Gemma 3 270M: seconds, and peak memory above what was there before."
    policy, rows = random_gemma(), []
    e, objective = made_up(policy, 2, 64, 128), stage_one()
    a = advantages(objective, e)
    params = list(policy.parameters().values())
    def ours(recompute=False):
        def f():
            with policy.recomputing() if recompute else torch.enable_grad(): loss = episode_loss(policy, e.ids, e.turn, a, objective.beta)[0].mean()
            return loss, torch.autograd.grad(loss, params)
        return f
    def theirs(exact):
        def f(): loss = four_forwards(policy, e, a, objective.beta, exact); return loss, torch.autograd.grad(loss, params)
        return f
    versions = {"ours": ours(), "ours, recomputing": ours(True), "four forwards": theirs(True), "four forwards, sampled KL": theirs(False)}
    (l1, g1), (l2, g2) = versions["ours"](), versions["four forwards"]()
    rows.append(dict(what="equal", loss=abs(float((l1 - l2).detach()))/256, gradient=max(float((x - y).abs().max()/y.abs().max().clamp(min=1e-9)) for x, y in zip(g1, g2))))
    del l1, g1, l2, g2
    for i in tqdm(range(4), desc="update, 270M"):
        row = {}
        for name, f in list(versions.items())[::1 if i % 2 else -1]:
            with Peak() as peak: row[name] = round(seconds(f), 3)
            row[name + " MB"] = round(peak.mb)
        if i: rows.append(dict(what="update", **row))
    return rows

# ---- a whole step
def bench_step():
    "A step of one attempt, 48 problems of 4 samples: trl's RLOOTrainer and ours, in turns inside trl's own loop."
    from transformers import TrainerCallback
    policy, pool, steps = load_policy(), TASK.load("train"), 13
    objective = replace(stage_one(), name="single_turn", credit=own, beta=(.01,))
    accelerator, cfg = Accelerator(cpu=policy.device.type == "cpu"), TrainConfig(problems=48)
    optimizer, rows = torch.optim.Adam(policy.parameters().values(), lr=cfg.lr), []
    def our_step(i):
        e = rollout(policy, TASK, problems_for_step(pool, 48, 0, i), 1, 4, seed=i)
        update(policy, e, advantages(objective, e), objective.beta, cfg, accelerator, optimizer)
    class InTurns(TrainerCallback):
        def on_step_begin(self, *_, **__): gc.collect(); self.start = time.perf_counter()
        def on_step_end(self, args, state, control, **_):
            theirs = time.perf_counter() - self.start
            rows.append(dict(what="step", ours=round(seconds(our_step, state.global_step), 4), trl=round(theirs, 4)))
    with tempfile.TemporaryDirectory() as folder:
        trl = trl_trainer(folder, pool, 4, 64, policy, "rloo", rows=192, args=dict(max_steps=steps, optim="adamw_torch"))
        trl.add_callback(InTurns()); trl.train()
    return rows[1:]

def bench_parts():
    "Where a step of the foundation's demo goes: sampling, update, the rest."
    policy, pool, objective, cfg = load_policy(), TASK.load("train"), stage_two(), TrainConfig(problems=48)
    accelerator, optimizer, rows = Accelerator(cpu=policy.device.type == "cpu"), torch.optim.Adam(policy.parameters().values(), lr=cfg.lr), []
    for i in range(9):
        start = time.perf_counter()
        e = rollout(policy, TASK, problems_for_step(pool, cfg.problems, 0, i), 2, cfg.samples, seed=named_seed(0, "step", i)); sampled = time.perf_counter()
        update(policy, e, advantages(objective, e), objective.beta, cfg, accelerator, optimizer)
        if i: rows.append(dict(what="parts", sampling=round(sampled - start, 4), update=round(time.perf_counter() - sampled, 4), sampled_tokens=int((e.turn > 0).sum()), tokens=int((e.turn > 0).int().cumsum(1).argmax(1).sum())))
    return rows

FOUNDATION = "7684e76" # the commit before this engine
def bench_before():
    "Twenty steps of Stage I with the code before the engine and with this one, in turns: the same losses? how much faster? Needs git and the project's history."
    import importlib
    rows, losses = [], {}
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", FOUNDATION, "score_nb", "data/tiny"], cwd=HERE.parent, capture_output=True, check=True).stdout
        subprocess.run(["tar", "x", "-C", folder], input=archive, check=True)
        Path(folder, "score_nb").rename(Path(folder, "score_nb_before"))
        sys.path.insert(0, folder)
        def run(package, i):
            of = lambda name: importlib.import_module(f"{package}.{name}")
            task, where = of("tasks").get_task("equations"), Path(folder, f"{package}-{i}")
            of("train").train(of("models").load_policy(), task, task.load("train"), of("stages").stage_one(), of("train").TrainConfig(steps=20, problems=48, lr=5e-4, save_every=20), where)
            losses[package] = [r["loss"] for r in of("core").read_jsonl(where/"metrics.jsonl")]
        rows += in_turns(2, {"ours": lambda i: run("score_nb", i), "before": lambda i: run("score_nb_before", i)}, "20 steps", what="before")
    return rows + [dict(what="losses", step=i + 1, ours=a, before=b) for i, (a, b) in enumerate(zip(losses["score_nb"], losses["score_nb_before"], strict=True))]

# ---- two processes
MEDIUM = dict(vocab_size=8192, hidden_size=384, intermediate_size=1536, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=96, sliding_window=512,
              layer_types=["full_attention"]*4)

def pair(file):
    "In each of two processes of one thread: a step by both, and the same step by the first while the second waits, in turns."
    torch.set_num_threads(1)
    policy, task, objective, cfg = random_gemma(MEDIUM), Long(64), stage_two(), TrainConfig(problems=8, samples=2, max_new_tokens=32)
    pool, both, optimizer = TASK.load("train"), Accelerator(cpu=True), torch.optim.Adam(policy.parameters().values(), lr=0.)
    alone, gather, rows = SimpleNamespace(num_processes=1, process_index=0, backward=both.backward, clip_grad_norm_=both.clip_grad_norm_), loop.everyones, []
    def step(accelerator, i):
        "Seconds of sampling and of the update, and those this process was at work: what else the machine does costs those little."
        start, busy = time.perf_counter(), time.process_time()
        e = loop.sample(policy, task, pool, 2, cfg, accelerator, i + 1); sampled = time.perf_counter()
        e.reward = torch.rand(e.reward.shape, generator=named_generator("grades", i)).round()
        update(policy, e, advantages(objective, e), objective.beta, cfg, accelerator, optimizer)
        return sampled - start, time.perf_counter() - sampled, time.process_time() - busy
    for i in range(6):
        row = dict(what="processes", conversations=cfg.problems*cfg.samples)
        for who in ("one", "two")[::1 if i % 2 else -1]:
            gc.collect(); both.wait_for_everyone()
            if who == "two": took = [max(t) for t in zip(*gather(step(both, i)))]
            elif both.is_main_process:
                loop.everyones = lambda mine: [mine]                                    # nobody to exchange with
                try: took = step(alone, i)
                finally: loop.everyones = gather
            else: took = 0, 0, 0
            row |= {who: round(took[0] + took[1], 4), f"{who}, sampling": round(took[0], 4), f"{who}, update": round(took[1], 4), f"{who}, at work": round(took[2], 4)}
        if i: rows.append(row)
    if both.is_main_process: write_atomic(file, to_jsonl(rows))

def bench_processes():
    "Steps of two processes of one thread each, and of one such process, at a shape that is nearly all arithmetic. Run it with OMP_NUM_THREADS=1, on two cores or more."
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket() as s: s.bind(("127.0.0.1", 0)); port = s.getsockname()[1]
        where = dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE="2")    # what torchrun sets; its processes would have a priority of their own
        both = [subprocess.Popen([sys.executable, __file__, "pair", f"{folder}/rows.jsonl"], env=os.environ | where | dict(RANK=r, LOCAL_RANK=r)) for r in "01"]
        for p in both: p.wait()
        return read_jsonl(f"{folder}/rows.jsonl")

# ---- a GPU
GEMMA2_2B = dict(vocab_size=256_000, hidden_size=2304, intermediate_size=9216, num_hidden_layers=26, num_attention_heads=8, num_key_value_heads=4, head_dim=256,
                 query_pre_attn_scalar=256, sliding_window=4096, max_position_embeddings=8192)
def bench_gpu():
    "Gemma 2 2B's real shape in 4 bits with LoRA: a step of 8 conversations of 256 + 2 × 512 tokens. Needs CUDA."
    if not torch.cuda.is_available(): return []
    from transformers import Gemma2Config, Gemma2ForCausalLM
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        with torch.device("cuda"): model = Gemma2ForCausalLM(Gemma2Config(**GEMMA2_2B, eos_token_id=1, pad_token_id=0)).to(torch.bfloat16)
        model.save_pretrained(folder); load_policy().tokenizer.save_pretrained(folder); del model; gc.collect(); torch.cuda.empty_cache()
        policy = load_policy(folder, load_in_4bit=True)
    policy.stop = (-1,)
    cfg, objective = TrainConfig(problems=48, tokens=2048, recompute=True, adam_8bit=True), stage_two()
    accelerator = Accelerator()
    from score_nb.train import new_optimizer
    optimizer = new_optimizer(policy, cfg)
    for i in range(4):
        torch.cuda.reset_peak_memory_stats(); torch.cuda.synchronize(); start = time.perf_counter()
        e = rollout(policy, Long(256), TASK.load("train", 2), 2, 4, max_new_tokens=512, seed=i)
        torch.cuda.synchronize(); sampled, peak = time.perf_counter(), torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        e.reward = torch.rand(e.reward.shape).round()
        update(policy, e, advantages(objective, e), objective.beta, cfg, accelerator, optimizer); torch.cuda.synchronize()
        if i: rows.append(dict(what="gpu", sampling=sampled - start, update=time.perf_counter() - sampled, tokens=int((e.turn > 0).sum()), sampling_gb=peak/1e9, update_gb=torch.cuda.max_memory_allocated()/1e9))
    return rows

BENCHES = dict(rollout=bench_rollout, rollout_270m=bench_rollout_270m, attempts=bench_attempts, update=bench_update, step=bench_step, parts=bench_parts, before=bench_before, processes=bench_processes, gpu=bench_gpu)

def machine():
    name = next((l.split(":")[1].strip() for l in Path("/proc/cpuinfo").read_text().splitlines() if l.startswith("model name")), platform.machine())
    if torch.cuda.is_available(): name = torch.cuda.get_device_name()
    return dict(machine=name, cores=os.cpu_count(), threads=torch.get_num_threads(), dtype=str(default_dtype())[6:], versions=versions())

if __name__ == "__main__":
    names = sys.argv[1:] or list(BENCHES)
    if names[0] == "pair": pair(names[1]); sys.exit()                                  # one of the processes of bench_processes
    for name in names:
        if name not in BENCHES: sys.exit(f"unknown benchmark {name!r}; use {', '.join(BENCHES)}")
    for name in names:
        start = time.perf_counter()
        rows = BENCHES[name]()
        if rows: write_atomic(HERE/"results"/f"{name}.jsonl", to_jsonl([{**machine(), "seconds": round(time.perf_counter() - start)}, *rows]))
        print(name, f"{len(rows)} rows", "" if rows else "(not measured: no GPU here)")
