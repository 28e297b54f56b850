"""The same rewards in other RL stacks: one short module a stack, over one shared core.

    from r1env.adapters import trl                     # also verl, openrlhf, slime, swift, …: a module each
    reward_funcs = trl.reward_functions("zero")        # a preset, a rubric file, a rubric, a reward or its name

How a call passes through, and in which file:
the stack's module reads what it is handed; `core` makes a `Rollout` of it (`task_of`, `rollout_of`) and a `Score` of that, whatever happens
(`score_items`); the stack's module returns the score in the stack's own form. `export` writes the file that a stack's command line wants.
Over HTTP, `r1env.server` does the same with the same functions.

The rules all of them keep:

1. They import nothing of the stack: they are plain functions, and work without it. `TESTED_WITH` names the release they were run with.
2. Called wrongly (no such reward, a name that clashes) they raise `UsageError`, when they are made. Once made, they never raise on
   account of a row, a completion or a reward.
3. What a score without a value becomes is said in the module's first lines. It is None where the stack can carry that, else a finite
   number of the user's choice, with the flag `error` beside it.
4. Metrics have the same keys every time.
5. A reward that can hang or grow runs in our workers (`isolation="process"`), never under a signal: any thread may call.
"""
