"""What runs in a sandbox container, from pid 1 on. It runs programs under another uid and tells the host what they did; it never judges.

Standard library only, and nothing of this package from outside this folder: a container gets these modules as text with its command
(`r1env_sandbox.worker`), so that its runner is the host's version whatever the image.

Three kinds of process live in a container:

* the *runner* (pid 1, root without most capabilities; `server`) reads requests from stdin, reads what programs write, and keeps the
  limits, by the counters of its control group (`processes`);
* the *launcher* is its child from before the first request, so its memory holds nothing of any submission. It forks a child for every
  run; the child gives up root and executes the program, or, in fork mode, runs Python source in the interpreter that it already is.
  When a run is over it kills everything but the runner and itself with one system call, without ever having the submission's uid;
* the *submission's* processes, under a uid of their own, in folders that are made anew for every run (`files`).

Requests and replies are frames (`protocol`); every reply repeats the nonce of its request. The host may send several requests at once,
and then gets the replies together.

    {op: ping}                                           -> {op: pong, uid, seccomp_fault, python, cpu_account}
    {op: begin, files: [[name, executable]…], box: […]}  -> {op: begun, fault}  writes PROGRAM; `box` names go into BOX before every run
    {op: run, cpu_s, wall_s, …}                          -> {op: done, …}       blobs in: the program as the launcher reads it, stdin;
                                                                            out: stdout, stderr, result, artifact
        meanwhile, for `interactive` runs: {op: input} and {op: stop} in, {op: output} out
    {op: end, collect: [name…]}                          -> {op: ended, missing} blobs out: the files
    {op: put, uid, groups, path}                         -> {op: put, fault}    blob in: a file's contents; sessions only
    {op: get, uid, groups, path, max_bytes}              -> {op: got, fault}    blob out: a file's contents; sessions only

Instead of any of these replies, {op: fault, fault} says why the runner gives up. A `fault` of `begin` is the submission's, and leaves
the runner as it was.
"""
