"""The reward server, `r1env serve`: the same rewards over HTTP, in the words of the stacks that ask for a URL.

`app` has the application: what each route takes and answers, and the limits that every request passes first.

It needs the extra `r1env[server]`; nothing else in the core imports it.
"""
