/* stopwatch: starts commands and measures them, for hack/bench. A process's peak memory, as wait4(2) tells it, is at
 * least that of whoever called execve(2) in it, so the commands are started from something small; and what starts them
 * shall not disturb the clock.
 *
 * On stdin, a line per request; on stdout, a line per answer:
 *   run COMMAND\tARGUMENT…   wall-ns user+system-µs peak-KiB minor-faults wait-status
 *   reap PID                 the same for an orphan that has come to us, from the request to its end
 * Commands get nothing on stdin; their stdout and stderr go to the file given as argument. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void wait_for(pid_t pid, long since)
{
    struct rusage usage;
    int status;
    if (wait4(pid, &status, 0, &usage) < 0) {
        printf("0 0 0 0 -1\n");
        return;
    }
    long wall = now() - since;
    long cpu = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    printf("%ld %ld %ld %ld %d\n", wall, cpu, usage.ru_maxrss, usage.ru_minflt, status);
}

int main(int argc, char **argv)
{
    static char line[65536];
    int output = open(argc > 1 ? argv[1] : "/dev/null", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "reap ", 5)) {
            wait_for(atoi(line + 5), now());
            continue;
        }
        char *arguments[128];
        int n = 0;
        for (char *word = strtok(line + 4, "\t"); word && n < 127; word = strtok(NULL, "\t"))
            arguments[n++] = word;
        arguments[n] = NULL;
        long since = now();
        pid_t pid = vfork();
        if (pid == 0) {
            dup2(nothing, 0);
            dup2(output, 1);
            dup2(output, 2);
            execvp(arguments[0], arguments);
            _exit(127);
        }
        wait_for(pid, since);
    }
    return 0;
}
