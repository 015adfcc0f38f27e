"""This project's engine against what one would use instead: measured in pairs, taking turns, in one
process. benchmarks.ipynb says what the numbers mean.

  pip install -e '.[bench]'
  python benchmarks/bench.py                  all of them, about half an hour on two cores
  python benchmarks/bench.py update attempts  some of them

Each writes results/NAME.jsonl: the machine's name in the first row, then a row per measurement.
"""
import ctypes, gc, importlib, os, platform, socket, subprocess, sys, tempfile, threading, time
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
import torch
from accelerate import Accelerator
from peft import get_peft_model
from tqdm import tqdm
from transformers import Gemma3ForCausalLM, Gemma3TextConfig
from transformers.utils import logging
from score_nb import train as loop
from score_nb.core import data_path, default_dtype, named_generator, named_seed, read_jsonl
from score_nb.core import to_jsonl, versions, write_atomic
from score_nb.models import Policy, load_policy, new_lora, randomize_adapter
from score_nb.reinforce import advantages, episode_loss, kl_per_token
from score_nb.rollout import Episodes, rollout
from score_nb.stages import own, stage_one, stage_two
from score_nb.tasks import Equations
from score_nb.train import TrainConfig, new_optimizer, problems_for_step, update

logging.set_verbosity_error()
HERE, TASK = Path(__file__).parent, Equations()

# Gemma 3 270M's real shape; the weights are random, which changes no cost
GEMMA_270M = dict(
    vocab_size=262_144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18,
    num_attention_heads=4, num_key_value_heads=1, head_dim=256, query_pre_attn_scalar=256,
    sliding_window=512, max_position_embeddings=32_768, tie_word_embeddings=True,
    layer_types=(["sliding_attention"]*5 + ["full_attention"])*3)
# for two processes: nearly all of its time is arithmetic
MEDIUM = dict(
    vocab_size=8192, hidden_size=384, intermediate_size=1536, num_hidden_layers=4,
    num_attention_heads=4, num_key_value_heads=2, head_dim=96, sliding_window=512,
    layer_types=["full_attention"]*4)
# Gemma 2 2B's real shape
GEMMA2_2B = dict(
    vocab_size=256_000, hidden_size=2304, intermediate_size=9216, num_hidden_layers=26,
    num_attention_heads=8, num_key_value_heads=4, head_dim=256, query_pre_attn_scalar=256,
    sliding_window=4096, max_position_embeddings=8192)

def random_gemma(shape=GEMMA_270M):
    """A policy of that shape with random weights, the embedded model's tokenizer, and LoRA of rank
    16 that is not zero. It never ends an attempt by itself."""
    tiny = load_policy()
    torch.manual_seed(0)
    model = Gemma3ForCausalLM(Gemma3TextConfig(**shape, eos_token_id=1, pad_token_id=0))
    model.requires_grad_(False).eval()
    policy = Policy(get_peft_model(model, new_lora(model, 16)).eval(), tiny.tokenizer, "random")
    randomize_adapter(policy, scale=.02)
    policy.stop = (-1,)
    return policy

class Long(Equations):
    "Prompts of as many tokens as wanted, for policies that need not understand them."
    def __init__(self, tokens):
        self.tokens = tokens
    def prompt(self, problem):
        numbers = " ".join(["12345"]*(self.tokens//6))
        return [{"role": "user", "content": f"{numbers} {problem.question}"}]
    def grade(self, text, problem):
        return 0.

@cache
def tiny_policy():
    "The embedded model, loaded once."
    return load_policy()

# ---- measuring
def return_memory():
    "Give free memory back to the system, or it would count as used."
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)

def seconds(function, *args):
    gc.collect()
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start

class Peak:
    "The most memory that this process held while inside, above what it held before: `mb`, in MB."
    def __enter__(self):
        return_memory()
        self.base, self.top, self.inside = self.now(), 0, True
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self
    def now(self):
        "MB that are resident."
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages*os.sysconf("SC_PAGE_SIZE")/1e6
    def watch(self):
        while self.inside:
            self.top = max(self.top, self.now())
            time.sleep(.002)
    def __exit__(self, *_):
        self.inside = False
        self.thread.join()
        self.mb = self.top - self.base

def alternating(versions, i):
    "The versions, in the opposite order in every other round."
    return list(versions)[::1 if i % 2 else -1]

def in_turns(pairs, versions, label, **facts):
    "Rows of seconds of {version: f(i)}, called in turns; the first round is a warm-up."
    rows = []
    for i in tqdm(range(pairs + 1), desc=label, mininterval=2):
        row = {name: round(seconds(versions[name], i), 4) for name in alternating(versions, i)}
        if i: # not the warm-up
            rows.append(facts | row)
    return rows

# ---- rollouts
@torch.no_grad()
def generate_twice(policy, task, problems, samples, limit, attempts=2):
    """What implementations do: for each attempt, one call of transformers' generate on the whole
    context. Contexts are lists of ids, so that no text is tokenized again."""
    stop = [token for token in policy.stop if token >= 0] or None
    bridge = policy.bridge_ids(task.prompt(problems[0]), task.correction)
    contexts = []
    for problem in problems:
        prompt = policy.prompt_ids(task.prompt(problem))
        contexts += [prompt]*samples
    for _ in range(attempts):
        batch = policy.tokenizer.pad({"input_ids": contexts}, padding_side="left",
                                     return_tensors="pt").to(policy.device)
        out = policy.model.generate(**batch, do_sample=True, temperature=1., top_k=0, top_p=1.,
                                    max_new_tokens=limit, eos_token_id=stop, pad_token_id=0)
        read = batch["input_ids"].shape[1]
        new = out[:, read:].tolist()
        written = [[token for token in row if token] for row in new] # without padding
        closed = [ids if ids[-1:] == [policy.end] else [*ids, policy.end] for ids in written]
        contexts = [context + ids + bridge for context, ids in zip(contexts, closed)]

def graded_for_trl(problems):
    "A reward function for trl."
    by_question = {problem.question: problem for problem in problems}
    def graded(prompts, completions, **_):
        return [TASK.grade(completion[0]["content"], by_question[prompt[0]["content"]])
                for prompt, completion in zip(prompts, completions)]
    return graded

def trl_trainer(folder, problems, samples, limit, policy, kind, rows=None, args=None, **more):
    "A trainer of trl (`kind` is grpo or rloo): the embedded model, an adapter of the same shape."
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained(data_path("tiny"))
    tokenizer = AutoTokenizer.from_pretrained(data_path("tiny"), eos_token="<end_of_turn>")
    kinds = dict(grpo=(GRPOConfig, GRPOTrainer), rloo=(RLOOConfig, RLOOTrainer))
    config, trainer = kinds[kind]
    settings = dict(
        output_dir=folder, use_cpu=policy.device.type == "cpu", bf16=False, fp16=False,
        report_to="none", save_strategy="no", logging_strategy="no", disable_tqdm=True,
        gradient_checkpointing=False, dataloader_pin_memory=False,
        per_device_train_batch_size=rows or 2*len(problems),
        num_generations=max(samples, 2), # trl refuses 1, and generation does not look at it
        max_completion_length=limit, temperature=1., top_k=0, learning_rate=5e-4, beta=.01,
        lr_scheduler_type="constant", max_grad_norm=1.)
    prompts = Dataset.from_list([{"prompt": TASK.prompt(problem)} for problem in problems])
    return trainer(model=model, reward_funcs=graded_for_trl(problems), train_dataset=prompts,
                   args=config(**settings | (args or {})), processing_class=tokenizer,
                   peft_config=new_lora(model, 16), **more)

def two_turns(prompts, trainer):
    "A rollout_func for trl: two attempts, each by the trainer's own generation."
    def write(contexts):
        return trainer._generate_single_turn(contexts, None, {}, 1)[0]
    template = trainer.processing_class.apply_chat_template
    contexts = [template(prompt, add_generation_prompt=True, tokenize=True, return_dict=False)
                for prompt in prompts]
    bridge = tiny_policy().bridge_ids(prompts[0], TASK.correction)
    first = write(contexts)
    second = write([context + ids + bridge for context, ids in zip(contexts, first)])
    completions, masks = [], []
    for a, b in zip(first, second):
        completions.append(a + bridge + b)
        masks.append([1]*len(a) + [0]*len(bridge) + [1]*len(b))
    return dict(prompt_ids=contexts, completion_ids=completions, logprobs=None, env_mask=masks)

def bench_rollout():
    "Two attempts of the embedded model: ours, generate twice, trl's generation."
    policy, pool, rows = tiny_policy(), TASK.load("train"), []
    for n, samples in ((4, 4), (16, 4), (64, 1), (64, 4), (256, 1)):
        def problems(i):
            return pool[i*n:(i + 1)*n]
        def ours(i):
            return rollout(policy, TASK, problems(i), samples=samples, seed=i)
        def generate(i):
            return generate_twice(policy, TASK, problems(i), samples, limit=64)
        def trl(i):
            prompts = [TASK.prompt(problem) for problem in problems(i) for _ in range(samples)]
            return trainer._generate(prompts)
        with tempfile.TemporaryDirectory() as folder:
            trainer = trl_trainer(folder, pool[:n], 2, 64, policy, "grpo", rollout_func=two_turns)
            trainer.model.train()
            rows += in_turns(7, dict(ours=ours, generate=generate, trl=trl),
                             f"rollout, {n} problems of {samples}",
                             model="tiny", problems=n, samples=samples)
    return rows

def bench_rollout_270m():
    "Two attempts of 16 tokens at the shape of Gemma 3 270M, after prompts of 128."
    policy, task, pool, rows = random_gemma(), Long(128), TASK.load("train"), []
    for n, samples in ((4, 4), (16, 4)):
        def problems(i):
            return pool[i*n:(i + 1)*n]
        def ours(i):
            return rollout(policy, task, problems(i), samples=samples, max_new_tokens=16, seed=i)
        def generate(i):
            return generate_twice(policy, task, problems(i), samples, limit=16)
        rows += in_turns(3, dict(ours=ours, generate=generate), f"270M, {n} problems of {samples}",
                         model="270M", problems=n, samples=samples)
    return rows

def attempts_rows(policy, pool):
    "1 to 8 attempts of 32 tokens."
    rows, task = [], Long(24)
    for K in range(1, 9):
        def ours(i):
            return rollout(policy, task, pool[:32], K, max_new_tokens=32, seed=i)
        def generate(i):
            return generate_twice(policy, task, pool[:32], 1, limit=32, attempts=K)
        rows += in_turns(5, dict(ours=ours, generate=generate), f"{K} attempts",
                         what="attempts", attempts=K)
    return rows

def prompt_rows(policy, pool):
    "One and two attempts of 32 tokens after prompts of several lengths."
    rows = []
    for prompt in (32, 64, 128, 256, 512):
        task = Long(prompt)
        def ours(attempts):
            return lambda i: rollout(policy, task, pool[:16], attempts, max_new_tokens=32, seed=i)
        def read_again(attempts):
            return lambda i: generate_twice(policy, task, pool[:16], 1, 32, attempts)
        versions = {"one": ours(1), "two": ours(2),
                    "read again, one": read_again(1), "read again, two": read_again(2)}
        rows += in_turns(7, versions, f"prompt of {prompt}", what="prompt", prompt=prompt)
    return rows

def samples_rows(policy, pool):
    "1 to 32 samples of 8 problems, two attempts each."
    rows = []
    for samples in (1, 2, 4, 8, 16, 32):
        def ours(i):
            return rollout(policy, TASK, pool[8*i:8*i + 8], samples=samples, seed=i)
        def generate(i):
            return generate_twice(policy, TASK, pool[8*i:8*i + 8], samples, limit=64)
        rows += in_turns(5, dict(ours=ours, generate=generate), f"{samples} samples",
                         what="samples", samples=samples)
    return rows

def bench_attempts():
    "What an attempt costs, what the second costs after a long prompt, and what samples cost."
    policy, pool = load_policy(), TASK.load("train")
    policy.stop = (-1,) # no attempt ends early
    rows = attempts_rows(policy, pool) + prompt_rows(policy, pool)
    return rows + samples_rows(load_policy(), pool)

# ---- updates
def made_up(policy, B, prompt, attempt, bridge=30):
    "Episodes of two attempts, of these lengths, with random tokens."
    T = prompt + 2*attempt + bridge
    turn = torch.zeros(B, T, dtype=torch.int8)
    turn[:, prompt:prompt + attempt] = 1
    turn[:, -attempt:] = 2
    generator = named_generator("made up")
    ids = torch.randint(6, policy.config.vocab_size, (B, T), generator=generator)
    row = torch.arange(B)
    odd = row % 2 # odd rows are right at attempt 1, even ones at attempt 2
    reward = torch.stack([odd, 1 - odd], 1).float()
    return Episodes(ids, turn, logp=torch.zeros(B, T), reward=reward,
                    truncated=torch.zeros(B, 2, dtype=torch.bool), problem=row//2, branch=row)

def all_logps(policy, ids):
    "(B, T - 1, V) log-probs of everything that could follow."
    logits = policy.lm(ids, use_cache=False).logits[:, :-1]
    return torch.log_softmax(logits.float(), dim=-1)

def four_forwards(policy, episodes, advantage, beta, exact=True):
    """The loss as it is usually computed: for each attempt a forward pass of the policy and one of
    the reference, with all logits. KL exact, or the sampled estimate that needs fewer arrays."""
    loss = 0.
    for k in (1, 2):
        own = episodes.turn == k
        n = int(own.nonzero()[:, 1].max()) + 1 # up to the end of this attempt
        ids = episodes.ids[:, :n]
        mine = own[:, 1:n].float()
        def of_sampled(logp):
            return logp.gather(-1, ids[:, 1:, None])[..., 0]
        logp = all_logps(policy, ids)
        with torch.no_grad(), policy.reference():
            ref = all_logps(policy, ids)
        chosen = of_sampled(logp)
        log_ratio = of_sampled(ref) - chosen
        kl = kl_per_token(logp, ref) if exact else log_ratio.exp() - log_ratio - 1
        weighted = beta[k - 1]*kl - advantage[:, k - 1:k]*chosen
        loss = loss + weighted.mul(mine).sum()
    return loss/len(ids)

def differences(ours, theirs):
    "How far two (loss, gradients) are apart: nats per token, and relative to a matrix's largest."
    (our_loss, our_gradients), (their_loss, their_gradients) = ours, theirs
    apart = float((our_loss - their_loss).detach())
    gaps = []
    for x, y in zip(our_gradients, their_gradients):
        largest = y.abs().max().clamp(min=1e-9)
        gaps.append(float((x - y).abs().max()/largest))
    return dict(loss=abs(apart)/256, gradient=max(gaps))

def update_versions(policy):
    "{version: () -> (loss, gradients)} of two attempts of 128 tokens."
    episodes, objective = made_up(policy, 2, 64, 128), stage_one()
    advantage, beta = advantages(objective, episodes), objective.beta
    def with_gradient(loss_of):
        def both(*_):
            loss = loss_of()
            return loss, torch.autograd.grad(loss, list(policy.parameters().values()))
        return both
    def ours(recompute):
        def loss():
            with policy.recomputing() if recompute else nullcontext():
                return episode_loss(policy, episodes.ids, episodes.turn, advantage, beta)[0].mean()
        return with_gradient(loss)
    def theirs(exact):
        return with_gradient(lambda: four_forwards(policy, episodes, advantage, beta, exact))
    return {"ours": ours(False), "ours, recomputing": ours(True), "four forwards": theirs(True),
            "four forwards, sampled KL": theirs(False)}

def bench_update():
    "Loss and gradient at the shape of Gemma 3 270M: seconds, and peak memory above the weights."
    versions = update_versions(random_gemma())
    rows = [dict(what="equal") | differences(versions["ours"](), versions["four forwards"]())]
    for i in tqdm(range(4), desc="update, 270M"):
        row = {}
        for name in alternating(versions, i):
            with Peak() as peak:
                row[name] = round(seconds(versions[name]), 3)
            row[f"{name} MB"] = round(peak.mb)
        if i: # not the warm-up
            rows.append(dict(what="update", **row))
    return rows

# ---- a whole step
def training_parts(policy, cfg):
    "What an update takes beside the batch."
    accelerator = Accelerator(cpu=policy.device.type == "cpu")
    return cfg, accelerator, torch.optim.Adam(policy.parameters().values(), lr=cfg.lr)

def bench_step():
    """A step of one attempt at 48 problems with 4 samples: trl's RLOOTrainer and ours, in turns
    inside trl's own loop."""
    from transformers import TrainerCallback
    policy, pool, steps, rows = load_policy(), TASK.load("train"), 13, []
    objective = replace(stage_one(), name="single_turn", credit=own, beta=(.01,))
    parts = training_parts(policy, TrainConfig(problems=48))
    def our_step(i):
        problems = problems_for_step(pool, 48, 0, i)
        episodes = rollout(policy, TASK, problems, 1, 4, seed=i)
        update(policy, episodes, advantages(objective, episodes), objective.beta, *parts)
    class InTurns(TrainerCallback):
        "After each of trl's steps, one of ours."
        def on_step_begin(self, *_, **__):
            gc.collect()
            self.start = time.perf_counter()
        def on_step_end(self, args, state, control, **_):
            theirs = time.perf_counter() - self.start
            ours = seconds(our_step, state.global_step)
            rows.append(dict(what="step", ours=round(ours, 4), trl=round(theirs, 4)))
    with tempfile.TemporaryDirectory() as folder:
        trl = trl_trainer(folder, pool, 4, 64, policy, "rloo", rows=192,
                          args=dict(max_steps=steps, optim="adamw_torch"))
        trl.add_callback(InTurns())
        trl.train()
    return rows[1:] # without the warm-up

def bench_parts():
    "Where the time of a step of the demo goes: sampling and update."
    policy, pool, objective, rows = load_policy(), TASK.load("train"), stage_two(), []
    cfg, *parts = training_parts(policy, TrainConfig(problems=48))
    for i in range(9):
        start = time.perf_counter()
        problems = problems_for_step(pool, cfg.problems, 0, i)
        seed = named_seed(0, "step", i)
        episodes = rollout(policy, TASK, problems, 2, cfg.samples, seed=seed)
        sampled = time.perf_counter()
        advantage = advantages(objective, episodes)
        update(policy, episodes, advantage, objective.beta, cfg, *parts)
        updated = time.perf_counter()
        if not i: continue # the warm-up
        mine = episodes.turn > 0
        last = mine.int().cumsum(1).argmax(1) # each conversation's last token
        read = int(last.sum())
        rows.append(dict(what="parts", sampling=round(sampled - start, 4),
                         update=round(updated - sampled, 4),
                         sampled_tokens=int(mine.sum()), tokens=read))
    return rows

FOUNDATION = "7684e76" # the commit before this engine

def unpack_foundation(folder):
    "The code of that commit, importable as score_nb_before."
    command = ["git", "archive", FOUNDATION, "score_nb", "data/tiny"]
    archive = subprocess.run(command, cwd=HERE.parent, capture_output=True, check=True).stdout
    subprocess.run(["tar", "x", "-C", folder], input=archive, check=True)
    Path(folder, "score_nb").rename(Path(folder, "score_nb_before"))
    sys.path.insert(0, folder)

def twenty_steps(package, folder):
    "Losses of twenty steps of Stage I by a package's code."
    def module(name):
        return importlib.import_module(f"{package}.{name}")
    task = module("tasks").get_task("equations")
    cfg = module("train").TrainConfig(steps=20, problems=48, lr=5e-4, save_every=20)
    policy, objective = module("models").load_policy(), module("stages").stage_one()
    module("train").train(policy, task, task.load("train"), objective, cfg, folder)
    return [row["loss"] for row in module("core").read_jsonl(folder/"metrics.jsonl")]

def bench_before():
    """Twenty steps of Stage I with the code before the engine and with this one, in turns: are the
    losses the same, and how much faster is it? Needs git and the project's history."""
    losses = {}
    with tempfile.TemporaryDirectory() as folder:
        unpack_foundation(folder)
        def run(package, i):
            losses[package] = twenty_steps(package, Path(folder, f"{package}-{i}"))
        versions = {"ours": lambda i: run("score_nb", i),
                    "before": lambda i: run("score_nb_before", i)}
        rows = in_turns(2, versions, "20 steps", what="before")
    both = zip(losses["score_nb"], losses["score_nb_before"], strict=True)
    return rows + [dict(what="losses", step=step, ours=ours, before=before)
                   for step, (ours, before) in enumerate(both, start=1)]

# ---- two processes
class PairedStep:
    "A training step by both processes, or by the first alone while the second waits."
    def __init__(self):
        self.policy, self.objective = random_gemma(MEDIUM), stage_two()
        self.task, self.pool = Long(64), TASK.load("train")
        self.cfg = TrainConfig(problems=8, samples=2, max_new_tokens=32)
        self.both = Accelerator(cpu=True)
        self.optimizer = torch.optim.Adam(self.policy.parameters().values(), lr=0.)
        self.alone = SimpleNamespace(num_processes=1, process_index=0, backward=self.both.backward,
                                     clip_grad_norm_=self.both.clip_grad_norm_)
        self.exchange = loop.gather_from_all
    def times(self, accelerator, i):
        """Seconds of sampling, of the update, and those that this process was at work, which depend
        little on what else the machine does."""
        policy, objective, cfg = self.policy, self.objective, self.cfg
        start, busy = time.perf_counter(), time.process_time()
        episodes = loop.sample(policy, self.task, self.pool, 2, cfg, accelerator, i + 1)
        sampled = time.perf_counter()
        generator = named_generator("grades", i)
        episodes.reward = torch.rand(episodes.reward.shape, generator=generator).round()
        advantage = advantages(objective, episodes)
        update(policy, episodes, advantage, objective.beta, cfg, accelerator, self.optimizer)
        return sampled - start, time.perf_counter() - sampled, time.process_time() - busy
    def by_both(self, i):
        "The longer times of the two processes."
        times = self.exchange(self.times(self.both, i)) # a triple from each process
        return [max(each) for each in zip(*times)]
    def by_one(self, i):
        "The times of the first process; the second has none."
        if not self.both.is_main_process: return 0, 0, 0
        def exchange_with_nobody(mine):
            return [mine]
        loop.gather_from_all = exchange_with_nobody
        try:
            return self.times(self.alone, i)
        finally:
            loop.gather_from_all = self.exchange

def pair(file):
    "What each of the two processes of `bench_processes` runs, with one thread."
    torch.set_num_threads(1)
    step, rows = PairedStep(), []
    for i in range(6):
        row = dict(what="processes", conversations=step.cfg.problems*step.cfg.samples)
        for who in alternating(("one", "two"), i):
            gc.collect()
            step.both.wait_for_everyone()
            sampling, updating, busy = step.by_both(i) if who == "two" else step.by_one(i)
            row |= {who: round(sampling + updating, 4), f"{who}, sampling": round(sampling, 4),
                    f"{who}, update": round(updating, 4), f"{who}, at work": round(busy, 4)}
        if i: # not the warm-up
            rows.append(row)
    if step.both.is_main_process:
        write_atomic(file, to_jsonl(rows))

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

def bench_processes():
    """Steps of two processes of one thread each, and of one such process, at a shape that is nearly
    all arithmetic. Run it with OMP_NUM_THREADS=1, on two cores or more."""
    # what torchrun sets; its processes would have a priority of their own
    common = dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()), WORLD_SIZE="2")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "pair", f"{folder}/rows.jsonl"]
        both = [subprocess.Popen(command, env=os.environ | common | dict(RANK=r, LOCAL_RANK=r))
                for r in "01"]
        for process in both:
            process.wait()
        return read_jsonl(f"{folder}/rows.jsonl")

# ---- a GPU
def gemma_2b_in_4bit():
    "A policy in Gemma 2 2B's shape with random weights, read in 4 bits. It never ends an attempt."
    from transformers import Gemma2Config, Gemma2ForCausalLM
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        config = Gemma2Config(**GEMMA2_2B, eos_token_id=1, pad_token_id=0)
        with torch.device("cuda"):
            model = Gemma2ForCausalLM(config).to(torch.bfloat16)
        model.save_pretrained(folder)
        load_policy().tokenizer.save_pretrained(folder)
        del model
        gc.collect()
        torch.cuda.empty_cache()
        policy = load_policy(folder, load_in_4bit=True)
    policy.stop = (-1,)
    return policy

def on_gpu(function, *args, **kwargs):
    "(result, seconds, peak in GB) of a call that computes on the GPU."
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    start = time.perf_counter()
    result = function(*args, **kwargs)
    torch.cuda.synchronize()
    return result, time.perf_counter() - start, torch.cuda.max_memory_allocated()/1e9

def bench_gpu():
    """Gemma 2 2B's real shape in 4 bits with LoRA: a step of 8 conversations of 256 + 2 × 512
    tokens. Needs CUDA."""
    if not torch.cuda.is_available(): return []
    policy, task, objective, rows = gemma_2b_in_4bit(), Long(256), stage_two(), []
    cfg = TrainConfig(problems=48, tokens=2048, recompute=True, adam_8bit=True)
    parts = cfg, Accelerator(), new_optimizer(policy, cfg)
    def sample(i):
        return rollout(policy, task, TASK.load("train", 2), 2, 4, max_new_tokens=512, seed=i)
    def learn(episodes):
        update(policy, episodes, advantages(objective, episodes), objective.beta, *parts)
    for i in range(4):
        episodes, sampling, sampling_gb = on_gpu(sample, i)
        episodes.reward = torch.rand(episodes.reward.shape).round()
        _, updating, update_gb = on_gpu(learn, episodes)
        if i: # not the warm-up
            rows.append(dict(what="gpu", sampling=sampling, update=updating,
                             tokens=int((episodes.turn > 0).sum()),
                             sampling_gb=sampling_gb, update_gb=update_gb))
    return rows

BENCHES = dict(
    rollout=bench_rollout, rollout_270m=bench_rollout_270m, attempts=bench_attempts,
    update=bench_update, step=bench_step, parts=bench_parts, before=bench_before,
    processes=bench_processes, gpu=bench_gpu)

def processor():
    "The name of the GPU, else of the CPU."
    if torch.cuda.is_available(): return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())

def machine():
    "The first row of a file of results."
    return dict(machine=processor(), cores=os.cpu_count(), threads=torch.get_num_threads(),
                dtype=str(default_dtype())[6:], versions=versions())

def main(names):
    for name in names:
        if name not in BENCHES:
            sys.exit(f"unknown benchmark {name!r}; use {', '.join(BENCHES)}")
    for name in names:
        start = time.perf_counter()
        rows = BENCHES[name]()
        first = machine() | dict(seconds=round(time.perf_counter() - start))
        if rows:
            write_atomic(HERE/"results"/f"{name}.jsonl", to_jsonl([first, *rows]))
        print(name, f"{len(rows)} rows", "" if rows else "(not measured: no GPU here)")

if __name__ == "__main__":
    if sys.argv[1:2] == ["pair"]: # one of the processes of bench_processes
        pair(sys.argv[2])
    else:
        main(sys.argv[1:] or list(BENCHES))
