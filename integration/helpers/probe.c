// What a test asks from inside a container and busybox cannot tell. Each answer is one line of `key=value`s.
// Linked statically, so that it runs in a root file system that holds nothing else.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static long number(char **args, int index) {
    for (int i = 0; i <= index; i++)
        if (!args[i]) return 0;
    return strtol(args[index], NULL, 0);
}

static void do_nothing(int number) { (void)number; }

// syscall NR ARGS…: the raw call, by its number on this architecture.
static int do_syscall(char **args) {
    errno = 0;
    long rc = syscall(number(args, 0), number(args, 1), number(args, 2), number(args, 3),
                      number(args, 4), number(args, 5), number(args, 6));
    printf("rc=%ld errno=%d\n", rc, rc < 0 ? errno : 0);
    return 0;
}

// signalled-syscall NR ARGS…: the same in a process that survives SIGUSR1, whose calls are made again after it.
static int do_signalled_syscall(char **args) {
    struct sigaction action = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    return do_syscall(args);
}

// int80 NR: a system call of the 32-bit x86 table.
static int do_int80(char **args) {
#ifdef __x86_64__
    int rc;
    __asm__ volatile("int $0x80" : "=a"(rc) : "a"((int)number(args, 0)) : "memory");
    printf("rc=%d errno=%d\n", rc < 0 ? -1 : rc, rc < 0 ? -rc : 0);
    return 0;
#else
    return 77;
#endif
}

// fds: every open descriptor and what it refers to.
static int do_fds(char **args) {
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) return perror("/proc/self/fd"), 1;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(dir)) continue;
        char target[4096] = "";
        if (readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1) < 0) target[0] = 0;
        printf("%s %s\n", entry->d_name, target);
    }
    return 0;
}

// read FD: what one read of an inherited descriptor gives.
static int do_read(char **args) {
    char bytes[4096];
    ssize_t length = read((int)number(args, 0), bytes, sizeof bytes);
    if (length < 0) return printf("errno=%d\n", errno), 0;
    return fwrite(bytes, 1, (size_t)length, stdout) != (size_t)length;
}

// keyring: the serial number of the session keyring.
static int do_keyring(char **args) {
    long id = syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -3 /* session */, 0);
    char text[256] = "";
    syscall(SYS_keyctl, 6 /* KEYCTL_DESCRIBE */, -3, text, sizeof text - 1);
    printf("id=%ld errno=%d\n%s\n", id, id < 0 ? errno : 0, text);
    return 0;
}

// tty: is stdin a terminal, of what size and name, and is it the controlling one?
static int do_tty(char **args) {
    struct winsize size = {0};
    ioctl(0, TIOCGWINSZ, &size);
    int controlling = open("/dev/tty", O_RDWR | O_CLOEXEC);
    char *name = ttyname(0);
    printf("isatty=%d%d%d rows=%d cols=%d name=%s controlling=%d sid=%d\n", isatty(0), isatty(1),
           isatty(2), size.ws_row, size.ws_col, name ? name : "-", controlling >= 0, getsid(0) == getpid());
    return 0;
}

// resize: says `ready`, waits for one SIGWINCH, then tells the size.
static int do_resize(char **args) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, NULL);
    printf("ready\n");
    fflush(stdout);
    int number;
    sigwait(&set, &number);
    struct winsize size = {0};
    ioctl(0, TIOCGWINSZ, &size);
    printf("resized=%dx%d\n", size.ws_row, size.ws_col);
    return 0;
}

// notify TEXT: sends a datagram to $NOTIFY_SOCKET.
static int do_notify(char **args) {
    const char *path = getenv("NOTIFY_SOCKET");
    if (!path) return printf("unset\n"), 1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ssize_t sent = sendto(fd, args[0], strlen(args[0]), 0, (struct sockaddr *)&address, sizeof address);
    printf("sent=%zd errno=%d\n", sent, sent < 0 ? errno : 0);
    return 0;
}

// clocks: seconds of the monotonic and of the boot clock.
static int do_clocks(char **args) {
    struct timespec monotonic, boot;
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    printf("monotonic=%ld\nboottime=%ld\n", (long)monotonic.tv_sec, (long)boot.tv_sec);
    return 0;
}

// self: what the process was given.
static int do_self(char **args) {
    uid_t r, e, s;
    getresuid(&r, &e, &s);
    printf("uids=%d,%d,%d\npersonality=%x\ndumpable=%d\nkeepcaps=%d\npdeathsig=", r, e, s,
           personality(0xffffffff), prctl(PR_GET_DUMPABLE), prctl(PR_GET_KEEPCAPS));
    int signal = 0;
    prctl(PR_GET_PDEATHSIG, &signal);
    printf("%d\nsubreaper=", signal);
    int subreaper = 0;
    prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
    printf("%d\npid=%d\nsid=%d\npgid=%d\n", subreaper, getpid(), getsid(0), getpgid(0));
    return 0;
}

// sched: scheduling attributes (sched_getattr(2)) and I/O priority, as numbers.
static int do_sched(char **args) {
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
        uint32_t util_min, util_max;
    } attr = {0};
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) < 0) return perror("sched_getattr"), 1;
    printf("policy=%u\nflags=%#llx\nnice=%d\npriority=%u\nruntime=%llu\ndeadline=%llu\nperiod=%llu\n"
           "util=%u-%u\nioprio=%ld\n",
           attr.policy, (unsigned long long)attr.flags, attr.nice, attr.priority, (unsigned long long)attr.runtime,
           (unsigned long long)attr.deadline, (unsigned long long)attr.period, attr.util_min, attr.util_max,
           syscall(SYS_ioprio_get, 1 /* IOPRIO_WHO_PROCESS */, 0));
    return 0;
}

// ignore-term: says `ready`, then ignores every polite request to end.
static int do_ignore_term(char **args) {
    signal(SIGTERM, SIG_IGN);
    printf("ready\n");
    fflush(stdout);
    for (;;) pause();
    return 0;
}

// unlock FD: clears MOUNT_ATTR_RDONLY of the mount that a descriptor is on (mount_setattr(2)).
static int do_unlock(char **args) {
    struct { uint64_t set, clear, propagation, userns; } attr = {.clear = 1};
    errno = 0;
    long rc = syscall(442 /* mount_setattr */, (int)number(args, 0), "", AT_EMPTY_PATH, &attr, sizeof attr);
    printf("rc=%ld errno=%d\n", rc, rc < 0 ? errno : 0);
    return 0;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(char **);
    } verbs[] = {
        {"syscall", do_syscall}, {"int80", do_int80},   {"fds", do_fds},       {"read", do_read},
        {"keyring", do_keyring}, {"tty", do_tty},       {"resize", do_resize}, {"notify", do_notify},
        {"clocks", do_clocks},   {"self", do_self},     {"sched", do_sched},   {"ignore-term", do_ignore_term},
        {"signalled-syscall", do_signalled_syscall},
        {"unlock", do_unlock},
    };
    for (size_t i = 0; argc > 1 && i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(argv[1], verbs[i].name)) return verbs[i].run(argv + 2);
    fprintf(stderr, "probe: which question?\n");
    return 64;
}
