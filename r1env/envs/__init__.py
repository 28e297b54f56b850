"""Environments: tasks as Gymnasium environments, single and vectorised.

`episode` is the machinery without Gymnasium (trainers drive it directly), `environment` resolves a spec into its parts,
`gym` and `vector` are the Gymnasium shells, `registration` makes `gymnasium.make("r1env/…")` work.
"""
