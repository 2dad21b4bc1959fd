// instructions: run a command step by step under ptrace(2), and count what it executes in user space.
//
//   instructions [--cpuid | --lines FILE] COMMAND...
//
// Prints two numbers: of the command itself (all of its program's starts), and of its descendants, each until it executes
// another program or the command has ended. A descendant that is left then, as `create` leaves init, runs on untraced.
// With --cpuid, only how many CPUID the command itself executes: each traps in a virtual machine, which takes as long as
// some ten thousand other instructions. With --lines, FILE gets where in the program they lie: the hexadecimal offset of the
// first that is executed of each 16 bytes, in the order of their execution.
// Slower than callgrind, but follows clone3(2) and changes of namespaces, of which valgrind knows nothing.

#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 64, FOLLOW = PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE };

static pid_t tracees[MOST];
static int count;

static int known(pid_t pid) {
    for (int i = 0; i < count; i++)
        if (tracees[i] == pid) return 1;
    return 0;
}

static void forget(pid_t pid) {
    for (int i = 0; i < count; i++)
        if (tracees[i] == pid) tracees[i] = tracees[--count];
}

static void fail(const char *what) {
    perror(what);
    exit(125);
}

// A tracee that runs has to be stopped before it can be let go.
static void let_go(pid_t pid) {
    int status;
    kill(pid, SIGSTOP);
    while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
        if (WSTOPSIG(status) == SIGSTOP) {
            ptrace(PTRACE_DETACH, pid, 0, 0);
            return;
        }
        ptrace(PTRACE_CONT, pid, 0, 0);
    }
}

// Whether the next instruction of the tracee is CPUID.
static int at_cpuid(pid_t pid) {
    struct user_regs_struct registers;
    unsigned char bytes[2];
    if (ptrace(PTRACE_GETREGS, pid, 0, &registers) != 0) fail("ptrace");
    struct iovec to = {bytes, sizeof bytes}, from = {(void *)registers.rip, sizeof bytes};
    return process_vm_readv(pid, &to, 1, &from, 1, 0) == sizeof bytes && bytes[0] == 0x0f && bytes[1] == 0xa2;
}

// Where the program lies, which it does at each of its starts: the stop is that of its first execve(2).
static unsigned long beginning(pid_t pid) {
    char path[32];
    unsigned long at;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    if (maps == NULL || fscanf(maps, "%lx", &at) != 1) fail(path);
    fclose(maps);
    return at;
}

enum { REACH = 16 << 20, LINE = 16 };

static void note(FILE *lines, pid_t pid, unsigned long base) {
    static unsigned char met[REACH / LINE];
    unsigned long at = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rip), 0) - base;
    if (at < REACH && !met[at / LINE]) {
        met[at / LINE] = 1;
        fprintf(lines, "%lx\n", at);
    }
}

int main(int argc, char **argv) {
    int status;
    FILE *lines = NULL;
    int cpuid = argc > 1 && strcmp(argv[1], "--cpuid") == 0;
    int options = argc > 2 && strcmp(argv[1], "--lines") == 0 ? 2 : cpuid;
    if (argc < 2 + options) {
        fprintf(stderr, "usage: instructions [--cpuid | --lines FILE] COMMAND...\n");
        return 125;
    }
    if (options == 2 && (lines = fopen(argv[2], "we")) == NULL) fail(argv[2]);
    argv += options;
    pid_t command = fork();
    if (command < 0) fail("fork");
    if (command == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) fail("ptrace");
        if (lines != NULL) personality(ADDR_NO_RANDOMIZE);
        raise(SIGSTOP);
        execvp(argv[1], argv + 1);
        fail(argv[1]);
    }
    if (waitpid(command, &status, 0) != command || !WIFSTOPPED(status)) fail("waitpid");
    ptrace(PTRACE_SETOPTIONS, command, 0, FOLLOW);
    ptrace(PTRACE_CONT, command, 0, 0);
    tracees[count++] = command;

    long own = 0, others = 0, cpuids = 0;
    unsigned long base = 0;
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0) fail("waitpid");
        if (!WIFSTOPPED(status)) {
            forget(pid);
            if (pid == command) break;
            continue;
        }
        int signal = WSTOPSIG(status), event = status >> 16;
        if (!known(pid)) {
            if (count == MOST) {
                fprintf(stderr, "instructions: too many processes\n");
                return 125;
            }
            tracees[count++] = pid;
            signal = 0; // the stop that a new tracee begins with
        } else if (event == PTRACE_EVENT_EXEC && pid != command) {
            forget(pid);
            ptrace(PTRACE_DETACH, pid, 0, 0);
            continue;
        } else if (event != 0) {
            signal = 0;
        } else if (signal == SIGTRAP) {
            *(pid == command ? &own : &others) += 1;
            signal = 0;
        }
        if (cpuid && pid == command) cpuids += at_cpuid(pid);
        if (lines != NULL) {
            if (base == 0) base = beginning(pid);
            note(lines, pid, base);
        }
        ptrace(PTRACE_SINGLESTEP, pid, 0, signal);
    }
    for (int i = 0; i < count; i++) let_go(tracees[i]);
    if (lines != NULL && fclose(lines) != 0) fail("fclose");
    cpuid ? printf("%ld\n", cpuids) : printf("%ld %ld\n", own, others);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
