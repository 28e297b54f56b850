/* The launcher's loop: starts a program for every request of the runner, and reports how it ended.

   The launcher is a Python process, and loads this file as a library. What it does for a run touches a handful of pages here and two
   hundred in Python, each of which the next fork makes dear. A program that is executed starts in a child that shares the launcher's
   memory until then, so nothing is copied; a program in fork mode starts in a copy, to which `serve` returns. `launcher.py` does the same in
   Python where this library is missing, and says what requests hold (`protocol.pack_program`). */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_BYTES = 1 << 16, MOST_LIMITS = 16, MOST_GROUPS = 16, MOST_WORDS = 1 << 15, MOST_DESCRIPTORS = 4, STACK_BYTES = 1 << 16 };
enum { IN_CHILD = 1, NEW_ENVIRONMENT = 2 }; /* what `serve` returns */

/* Of the interpreter that has loaded this library: what its own os.fork calls. */
void PyOS_BeforeFork(void);
void PyOS_AfterFork_Parent(void);
void PyOS_AfterFork_Child(void);

struct head {
    uint32_t fork, uid, limits, groups, arguments, variables;
};

struct limit {
    uint32_t number, optional; /* optional: the kernel may refuse it, as gVisor does */
    uint64_t soft, hard;
};

struct report {
    double exit_code; /* or minus the signal */
    double cpu_ms, rss_kb; /* of all children that ended since the last report */
    double own_cpu_ms;
};

static union {
    struct head head;
    char bytes[REQUEST_BYTES + 1];
} request;

static struct {
    const struct limit *limits;
    const gid_t *groups;
    const char *folder;
    char **arguments, **variables;
} program;

static char *words[MOST_WORDS]; /* where arguments and variables begin, with a null after each list */
static char *environment;       /* of forked programs: the variables as the request has them */
static size_t environment_bytes;
static int descriptors[MOST_DESCRIPTORS]; /* of the program, in its own order */
static size_t descriptor_count;
static struct report ended;
static pid_t launcher;
static char stack[STACK_BYTES] __attribute__((aligned(16))); /* of a child that shares this memory */

/* A fault of the sandbox's, which ends the container; the runner hands on what is said here. */
static void die(const char *what)
{
    dprintf(2, "the launcher: %s: %s\n", what, strerror(errno));
    _exit(1);
}

/* In a child: the program cannot be started. */
static void fail(const char *what)
{
    dprintf(2, "cannot start: %s: %s\n", what, strerror(errno));
    _exit(127);
}

/* --- the child -------------------------------------------------------------------------------------------------------------- */

static void set_oom_score(void)
{
    int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (score < 0 || write(score, "1000", 4) != 4) /* the kernel kills a program, never the runner */
        fail("oom_score_adj");
    close(score);
}

static void take_descriptors(void)
{
    for (size_t target = 0; target < descriptor_count; target++) /* all are above those that they become */
        if (dup2(descriptors[target], target) < 0)
            fail("dup2");
    if (syscall(SYS_close_range, descriptor_count, INT_MAX, 0) == 0) /* old gVisors take ~0U for -1 */
        return;
    struct rlimit most; /* which no process here can have raised */
    if (getrlimit(RLIMIT_NOFILE, &most))
        fail("getrlimit");
    for (rlim_t descriptor = descriptor_count; descriptor < most.rlim_cur; descriptor++) /* a kernel before 5.9 */
        close(descriptor);
}

static void set_limits(void)
{
    for (uint32_t at = 0; at < request.head.limits; at++) {
        const struct limit *limit = program.limits + at;
        struct rlimit values = {limit->soft, limit->hard};
        if (setrlimit(limit->number, &values) && !limit->optional)
            fail("setrlimit");
    }
}

/* The system calls themselves: the functions of the C library would have every thread of the process do the same. */
static void give_up_root(void)
{
    uid_t uid = request.head.uid;
    if (uid == 0 || syscall(SYS_setgroups, request.head.groups, program.groups) || syscall(SYS_setresgid, uid, uid, uid) ||
        syscall(SYS_setresuid, uid, uid, uid))
        fail("giving up root");
}

/* Takes what the program shall have, and from this process what it shall not. */
static void become_program(void)
{
    setsid();
    set_oom_score();
    take_descriptors();
    set_limits();
    umask(022);
    give_up_root();
    if (chdir(program.folder))
        fail(program.folder);
}

/* As execvpe, but never hands a file that is no program to a shell. */
static void execute(void)
{
    char *name = program.arguments[0];
    const char *folders = "/usr/local/bin:/usr/bin:/bin";
    int fault = ENOENT;
    for (char **variable = program.variables; *variable; variable++)
        if (!strncmp(*variable, "PATH=", 5))
            folders = *variable + 5;
    if (strchr(name, '/'))
        execve(name, program.arguments, program.variables), fault = errno;
    else
        for (const char *end; folders; folders = *end ? end + 1 : NULL) {
            char path[4096];
            end = strchrnul(folders, ':');
            int length = snprintf(path, sizeof path, "%.*s/%s", (int)(end - folders), folders, name);
            if (length < 0 || length >= (int)sizeof path)
                continue;
            execve(path, program.arguments, program.variables);
            if (errno != ENOENT && errno != ENOTDIR)
                fault = errno; /* it is there: this says more than that it is not in another folder */
        }
    errno = fault;
    fail(name);
}

static int run_program(void *unused)
{
    (void)unused;
    signal(SIGUSR1, SIG_DFL);
    signal(SIGPIPE, SIG_DFL); /* these two are ignored by Python */
    signal(SIGXFSZ, SIG_DFL);
    become_program();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execute();
    return 127;
}

/* --- the launcher ----------------------------------------------------------------------------------------------------------- */

/* The runner's signal: kill every process but the runner and this one. */
static void kill_all(int number)
{
    (void)number;
    int before = errno;
    kill(-1, SIGKILL);
    errno = before;
}

/* Notes what became of one child. Returns its pid; 0 where none has ended, -1 where there is none, or for a signal. */
static pid_t collect(int options, int *status)
{
    struct rusage used;
    pid_t pid = wait4(-1, status, options | __WALL, &used); /* __WALL: children of clone() with another signal than SIGCHLD, too */
    if (pid > 0) {
        ended.cpu_ms += 1e3 * (used.ru_utime.tv_sec + used.ru_stime.tv_sec) + 1e-3 * (used.ru_utime.tv_usec + used.ru_stime.tv_usec);
        if (used.ru_maxrss > ended.rss_kb)
            ended.rss_kb = used.ru_maxrss;
    }
    return pid;
}

/* Waits for a program. Others that end meanwhile are what it gave this process with CLONE_PARENT. */
static void wait_for(pid_t program_pid)
{
    int status;
    pid_t pid;
    while ((pid = collect(0, &status)) != program_pid)
        if (pid < 0 && errno != EINTR)
            die("wait4");
    ended.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void report(int requests)
{
    struct timespec own;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
    ended.own_cpu_ms = 1e3 * own.tv_sec + 1e-6 * own.tv_nsec;
    while (send(requests, &ended, sizeof ended, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            _exit(0); /* the runner was killed this moment */
}

/* Waits for a message. Returns its length; ends this process when the runner is gone. */
static size_t receive(int requests)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof descriptors)];
    } control;
    struct iovec data = {request.bytes, REQUEST_BYTES};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    ssize_t length;
    int status;
    for (;;) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        length = recvmsg(requests, &message, MSG_CMSG_CLOEXEC);
        if (length > 0)
            break;
        if (length == 0 || errno != EINTR)
            _exit(0);
        while (collect(WNOHANG, &status) > 0) /* those that the signal has killed */
            ;
    }
    errno = EBADMSG;
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        die("a request that is too long");
    struct cmsghdr *control_head = CMSG_FIRSTHDR(&message);
    descriptor_count = 0;
    if (control_head && control_head->cmsg_type == SCM_RIGHTS) {
        descriptor_count = (control_head->cmsg_len - CMSG_LEN(0)) / sizeof *descriptors;
        memcpy(descriptors, CMSG_DATA(control_head), descriptor_count * sizeof *descriptors);
    }
    return length;
}

/* Notes where a list of texts begins. Returns the first byte behind it. */
static char *read_words(char *at, const char *end, uint32_t count, char **list)
{
    for (uint32_t word = 0; word < count; word++, at += strlen(at) + 1) {
        if (at >= end)
            die("a request that is too short");
        list[word] = at;
    }
    list[count] = NULL;
    return at;
}

static void parse(size_t length)
{
    struct head *head = &request.head;
    char *at = request.bytes + sizeof *head, *end = request.bytes + length, *folder[2];
    *end = '\0';
    errno = EBADMSG;
    if (length < sizeof *head || head->limits > MOST_LIMITS || head->groups > MOST_GROUPS || !head->arguments ||
        (uint64_t)head->arguments + head->variables + 2 > MOST_WORDS ||
        length < sizeof *head + head->limits * sizeof *program.limits + head->groups * sizeof *program.groups)
        die("a request that cannot be read");
    program.limits = (const struct limit *)at;
    program.groups = (const gid_t *)(program.limits + head->limits);
    at = read_words((char *)(program.groups + head->groups), end, 1, folder);
    program.folder = folder[0];
    program.arguments = words;
    program.variables = words + head->arguments + 1;
    at = read_words(at, end, head->arguments, program.arguments);
    read_words(at, end, head->variables, program.variables);
}

/* Whether a forked program has other variables than the last; if so, they are those of the next from now on. */
static int takes_new_environment(size_t length)
{
    char *begin = request.head.variables ? program.variables[0] : request.bytes + length;
    size_t bytes = request.bytes + length - begin;
    if (!request.head.fork || (environment && bytes == environment_bytes && !memcmp(begin, environment, bytes)))
        return 0;
    free(environment);
    environment = malloc(bytes + 1);
    if (!environment)
        die("malloc");
    memcpy(environment, begin, bytes);
    environment_bytes = bytes;
    return 1;
}

/* Starts the program of the request. Returns its pid; 0 in a forked child. */
static pid_t start(void)
{
    sigset_t all, before;
    pid_t pid;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before); /* a handler must not run in a child, where it would kill for the launcher */
    if (request.head.fork) {
        PyOS_BeforeFork();
        pid = fork();
        if (pid == 0) {
            PyOS_AfterFork_Child();
            signal(SIGUSR1, SIG_DFL);
            become_program();
            prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* so that /proc/self, and with it /dev/stdin, is the program's own */
        } else
            PyOS_AfterFork_Parent();
    } else
        pid = clone(run_program, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
    int fault = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = fault;
    if (pid < 0)
        die("no process can be started");
    return pid;
}

/* Answers requests until the runner goes away.

   Returns IN_CHILD in the child of a fork, with the program's arguments, or NEW_ENVIRONMENT in the launcher, with the variables that
   forked programs have from now on: the caller sets them and calls again. */
int serve(int requests, char ***texts)
{
    static size_t length; /* of a request that waits for its environment */
    if (!launcher) {
        launcher = getpid();
        struct sigaction action = {.sa_handler = kill_all}; /* without SA_RESTART: those that it killed are collected */
        if (sigaction(SIGUSR1, &action, NULL))
            die("sigaction");
        report(requests); /* without a request: ready */
    }
    for (;;) {
        if (!length) {
            length = receive(requests);
            if (!descriptor_count) { /* every signal that was sent before has been handled, now that this is read */
                length = 0;
                memset(&ended, 0, sizeof ended);
                report(requests);
                continue;
            }
            parse(length);
            if (takes_new_environment(length)) {
                *texts = program.variables;
                return NEW_ENVIRONMENT;
            }
        }
        length = 0;
        memset(&ended, 0, sizeof ended); /* with what was swept after the last run */
        pid_t pid = start();
        if (pid == 0) {
            *texts = program.arguments;
            return IN_CHILD;
        }
        while (descriptor_count)
            close(descriptors[--descriptor_count]);
        wait_for(pid);
        report(requests);
    }
}
