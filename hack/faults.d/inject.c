// inject: run a command under ptrace(2), count the system calls of it and of its descendants, and let one of them go wrong.
//
//   inject REPORT SECONDS ATTACH count                        count
//   inject REPORT SECONDS ATTACH PROCESS CALL NUMBER kill|all|ERRNO
//   ... -- COMMAND...
//
// The point is the CALL-th call of the PROCESS-th process, or the next one that is of the given NUMBER.
//
// A process is numbered by its birth (0: the command), its calls from 1: each one's own sequence is the same from run to
// run, while the order among processes is not. At the point the process is killed, or every process is, or the call is
// not made and fails with ERRNO. ATTACH is a process (or 0) that takes part as the last number: init, for `start`.
// REPORT gets lines: `call PROCESS NUMBER` when counting, else `at PROCESS CALL PATH` when the point was reached; then
// `exit CODE` (128 + n for a signal), or `hang` and where each process stood when SECONDS were over.
//
// What another program does, which a descendant executes, is nobody's fault here: it is left alone from its execve(2) on.

#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/ptrace.h>

#ifndef __x86_64__
#error "registers are read and written as on x86-64"
#endif

enum { MAX = 64, QUIET_MS = 20 };

struct process {
    pid_t pid;
    int alive, in_call, started;
    long calls;
    long fail_with; // the errno that this call shall end with
};

static struct process processes[MAX];
static int count;
static FILE *report;
static int at_process = -1, counting, reached;
static long at_call;
static long long at_number;
static const char *what;
static int failing_errno;

static struct process *find(pid_t pid) {
    for (int i = 0; i < count; i++)
        if (processes[i].pid == pid && processes[i].alive) return &processes[i];
    return NULL;
}

static struct process *add(pid_t pid) {
    if (count == MAX) { fprintf(stderr, "inject: too many processes\n"); exit(125); }
    processes[count] = (struct process){.pid = pid, .alive = 1, .started = 1};
    return &processes[count++];
}

static void kill_all(void) {
    for (int i = 0; i < count; i++)
        if (processes[i].alive) kill(processes[i].pid, SIGKILL);
}

static void registers(pid_t pid, struct user_regs_struct *regs, int set) {
    struct iovec io = {regs, sizeof *regs};
    ptrace(set ? PTRACE_SETREGSET : PTRACE_GETREGSET, pid, NT_PRSTATUS, &io);
}

// What may be a path among the first two arguments, for people.
static const char *path_of(pid_t pid, struct user_regs_struct *regs) {
    static char text[100];
    unsigned long long pointers[] = {regs->rsi, regs->rdi};
    for (int i = 0; i < 2; i++) {
        struct iovec here = {text, sizeof text - 1}, there = {(void *)pointers[i], sizeof text - 1};
        ssize_t length = process_vm_readv(pid, &here, 1, &there, 1, 0);
        if (length <= 0) continue;
        text[length] = 0;
        size_t printable = strspn(text, "/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:+ ");
        if (printable && !text[printable]) return text;
    }
    return "";
}

// A call is about to be made.
static void entry(struct process *p) {
    struct user_regs_struct regs;
    p->calls++;
    p->in_call = 1;
    int here = !reached && p - processes == at_process && p->calls >= at_call;
    if (!counting && !here) return;
    registers(p->pid, &regs, 0);
    if (counting) {
        fprintf(report, "call %td %lld\n", p - processes, (long long)regs.orig_rax);
        return;
    }
    if ((long long)regs.orig_rax != at_number) return;
    reached = 1;
    fprintf(report, "at %d %ld %s\n", at_process, p->calls, path_of(p->pid, &regs));
    if (!strcmp(what, "kill")) { kill(p->pid, SIGKILL); return; }
    if (!strcmp(what, "all")) { kill_all(); return; }
    // Something harmless in its place: a seccomp filter lets it pass, which it might not let -1.
    regs.orig_rax = SYS_getpid;
    registers(p->pid, &regs, 1);
    p->fail_with = failing_errno;
}

static void leave(struct process *p) {
    p->in_call = 0;
    if (!p->fail_with) return;
    struct user_regs_struct regs;
    registers(p->pid, &regs, 0);
    regs.rax = -p->fail_with;
    registers(p->pid, &regs, 1);
    p->fail_with = 0;
}

static void go_on(pid_t pid, int signal) { ptrace(PTRACE_SYSCALL, pid, 0, signal); }

static long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void say_where(void) {
    fprintf(report, "hang");
    for (int i = 0; i < count; i++) {
        char path[64], line[160] = "";
        if (!processes[i].alive) continue;
        snprintf(path, sizeof path, "/proc/%d/syscall", processes[i].pid);
        FILE *f = fopen(path, "r");
        if (f) { if (!fgets(line, sizeof line, f)) line[0] = 0; fclose(f); }
        line[strcspn(line, "\n")] = 0;
        fprintf(report, "; process %d: call %ld: %s", i, processes[i].calls, line);
    }
    fprintf(report, "\n");
}

static void stopped(pid_t pid, int status) {
    int signal = WSTOPSIG(status), event = status >> 16;
    struct process *p = find(pid);
    if (!p) p = add(pid); // born; its parent's event may come later
    if (event == PTRACE_EVENT_EXEC) {
        // The command's own executions are the runtime's; anybody else's is a program, or a hook.
        if (p != &processes[0]) { p->alive = 0; ptrace(PTRACE_DETACH, pid, 0, 0); return; }
        p->in_call = 1;
        if (!p->started) { p->started = 1; p->calls = 0; }
        go_on(pid, 0);
    } else if (event) {
        go_on(pid, 0); // births, and stops of those born
    } else if (signal == (SIGTRAP | 0x80)) {
        if (p->started) { if (p->in_call) leave(p); else entry(p); }
        go_on(pid, 0);
    } else if (signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGABRT) {
        // The init of a pid namespace does not die of it while it is traced.
        if (p != &processes[0]) p->alive = 0;
        ptrace(PTRACE_DETACH, pid, 0, signal);
    } else {
        go_on(pid, signal);
    }
}

int main(int argc, char **argv) {
    if (argc < 7) return 125;
    report = fopen(argv[1], "we");
    long deadline = now_ms() + atol(argv[2]) * 1000;
    pid_t attach = atoi(argv[3]);
    int i = 4;
    if (!strcmp(argv[i], "count")) { counting = 1; i++; }
    else { at_process = atoi(argv[i]); at_call = atol(argv[i + 1]); at_number = atol(argv[i + 2]); what = argv[i + 3]; failing_errno = atoi(what); i += 4; }
    if (!report || strcmp(argv[i], "--")) return 125;
    setvbuf(report, NULL, _IOFBF, 1 << 16);

    // The tracer looks every few milliseconds whether all is quiet: a signal ends its waiting.
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);

    int gate[2];
    if (pipe(gate)) return 125;
    pid_t child = fork();
    if (child == 0) {
        char byte;
        close(gate[1]);
        if (read(gate[0], &byte, 1) != 1) _exit(125);
        close(gate[0]);
        sigprocmask(SIG_UNBLOCK, &chld, NULL);
        execv(argv[i + 1], argv + i + 1);
        _exit(127);
    }
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
    if (ptrace(PTRACE_SEIZE, child, 0, options)) { perror("inject: seize"); return 125; }
    add(child)->started = 0;
    if (attach > 0) {
        if (ptrace(PTRACE_SEIZE, attach, 0, options) || ptrace(PTRACE_INTERRUPT, attach, 0, 0)) { perror("inject: attach"); return 125; }
        add(attach);
    }
    ptrace(PTRACE_INTERRUPT, child, 0, 0);
    if (write(gate[1], "x", 1) != 1) return 125;
    close(gate[0]);
    close(gate[1]);

    int code = -1;
    long quiet_since = now_ms();
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, __WALL | WNOHANG);
        if (pid < 0) break;
        if (pid == 0) {
            long now = now_ms();
            if (code >= 0 && now - quiet_since >= QUIET_MS) break; // who is left waits for somebody else
            if (now >= deadline) {
                say_where();
                fflush(report);
                kill_all();
                while (waitpid(-1, &status, __WALL) > 0) {}
                return 124;
            }
            struct timespec tick = {0, 5000000};
            sigtimedwait(&chld, NULL, &tick);
            continue;
        }
        quiet_since = now_ms();
        if (WIFSTOPPED(status)) { stopped(pid, status); continue; }
        struct process *p = find(pid);
        if (p) p->alive = 0;
        if (pid == child) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    // The others are let go of as this process ends.
    fprintf(report, "exit %d\n", code);
    fclose(report);
    return 0;
}
