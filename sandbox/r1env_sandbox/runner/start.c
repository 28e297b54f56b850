/* Becomes the program of a run: limits, another uid, then execve. The launcher starts it without copying its own memory.

       start DESCRIPTORS UID GROUPS FOLDER LIMITS PROGRAM [ARGUMENT…]

   DESCRIPTORS is how many the program has; they and the environment are in place already. GROUPS is a list of numbers with commas, or
   empty; LIMITS one of NUMBER:SOFT:HARD, where a "?" in front says that the kernel may refuse it, as gVisor does. The exit status is 127
   when the program could not be started. `become_program` of the launcher does the same in Python, for images without this program. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void fail(const char *what)
{
    dprintf(2, "cannot start: %s: %s\n", what, strerror(errno));
    _exit(127);
}

static void set_oom_score(void)
{
    int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (score < 0 || write(score, "1000", 4) != 4) /* the kernel kills a program, never the runner */
        fail("oom_score_adj");
    close(score);
}

/* The C library's own two, which its posix_spawn leaves ignored and its sigaction refuses to touch. */
static void restore_signals(void)
{
    static const long by_default[8];
    for (int number = 32; number <= 33; number++)
        if (syscall(SYS_rt_sigaction, number, by_default, NULL, 8))
            fail("rt_sigaction");
}

static void set_limits(char *text)
{
    for (char *rest, *limit = strtok_r(text, ",", &rest); limit; limit = strtok_r(NULL, ",", &rest)) {
        int number, optional = *limit == '?';
        unsigned long long soft, hard;
        if (sscanf(limit + optional, "%d:%llu:%llu", &number, &soft, &hard) != 3)
            errno = EINVAL, fail(limit);
        struct rlimit values = {soft, hard};
        if (setrlimit(number, &values) && !optional)
            fail("setrlimit");
    }
}

static void give_up_root(uid_t uid, char *text)
{
    gid_t groups[16];
    size_t count = 0;
    for (char *rest, *group = strtok_r(text, ",", &rest); group && count < 16; group = strtok_r(NULL, ",", &rest))
        groups[count++] = strtoul(group, NULL, 10);
    if (uid == 0 || setgroups(count, groups) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
        fail("giving up root");
}

/* As execvp, but never hands a file that is no program to a shell. */
static void execute(char **program)
{
    const char *folders = getenv("PATH");
    int fault = ENOENT;
    if (strchr(program[0], '/') || !folders)
        execv(program[0], program), fault = errno;
    else
        for (const char *end; folders; folders = *end ? end + 1 : NULL) {
            char path[4096];
            end = strchrnul(folders, ':');
            int length = snprintf(path, sizeof path, "%.*s/%s", (int)(end - folders), folders, program[0]);
            if (length < 0 || length >= (int)sizeof path)
                continue;
            execv(path, program);
            if (errno != ENOENT && errno != ENOTDIR)
                fault = errno; /* it is there: this says more than that it is not in another folder */
        }
    errno = fault;
    fail(program[0]);
}

int main(int count, char **arguments)
{
    if (count < 7)
        errno = EINVAL, fail("arguments");
    int descriptors = atoi(arguments[1]);
    set_oom_score();
    if (descriptors < 3 || syscall(SYS_close_range, descriptors, ~0U, 0)) {
        if (descriptors < 3 || errno != ENOSYS)
            fail("close_range");
        for (int descriptor = descriptors; descriptor < 1024; descriptor++) /* a kernel before 5.9 */
            close(descriptor);
    }
    restore_signals();
    set_limits(arguments[5]);
    umask(022);
    give_up_root(strtoul(arguments[2], NULL, 10), arguments[3]);
    if (chdir(arguments[4]))
        fail(arguments[4]);
    execute(arguments + 6);
}
