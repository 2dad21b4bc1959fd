/* floor: the same work for the kernel as the benchmark's containers ask for, and nothing else. No document is read, no
 * path is checked, no error is handled beyond giving up: a bound for what a runtime can reach, not a runtime. It takes
 * the part of runc's command line that the driver uses. What a config.json would say comes from the environment,
 * FLOOR_BPF (a compiled seccomp filter), FLOOR_CGROUP (the cgroups' parent); and from --minimal, --sleep, --binds N.
 *
 * Built with musl-gcc: glibc's start-up alone takes longer than most of these verbs. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEED(call) do { if ((call) < 0) { fprintf(stderr, "floor: %s: %s\n", #call, strerror(errno)); _exit(1); } } while (0)
#define OR_NOT(call) do { if (call) { /* absent on this host */ } } while (0)

static const char *const V1[] = {"blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids", "systemd"};
#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static char state[4096], rootfs[4096], cgroup[512];
static const char *id;
static int minimal, sleeping, binds, v2;

static int open_in(const char *dir, const char *name, int flags)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return open(path, flags | O_CLOEXEC, 0600);
}

static void put(int dir, const char *file, const char *value)
{
    int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    OR_NOT(write(fd, value, strlen(value)) < 0);
    close(fd);
}

/* The container's directory in a hierarchy ("" on v2). */
static void cgroup_path(char *path, size_t size, const char *hierarchy)
{
    snprintf(path, size, "/sys/fs/cgroup/%s/%s", hierarchy, cgroup);
}

static void get(int dir, const char *file, char *value, size_t size)
{
    int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, value, size - 1);
    value[n < 0 ? 0 : n] = 0;
    close(fd);
}

/* Makes the v1 cgroups and sets their limits; their tasks files. */
static void make_v1(int tasks[])
{
    static const char *const devices[] = {"c *:* m", "b *:* m", "c 1:3 rwm", "c 1:8 rwm", "c 1:7 rwm", "c 5:0 rwm",
                                          "c 1:5 rwm", "c 1:9 rwm", "c 136:* rwm", "c 5:2 rwm", "c 10:200 rwm"};
    char path[1024], value[256];
    for (int i = 0; i < COUNT(V1); i++) {
        cgroup_path(path, sizeof path, V1[i]);
        tasks[i] = -1;
        if (mkdir(path, 0755) < 0)
            continue;
        int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (!strcmp(V1[i], "cpuset")) {
            get(dir, "../cpuset.cpus", value, sizeof value);
            put(dir, "cpuset.cpus", value);
            get(dir, "../cpuset.mems", value, sizeof value);
            put(dir, "cpuset.mems", value);
        } else if (!strcmp(V1[i], "devices")) {
            put(dir, "devices.deny", "a");
            for (int k = 0; k < COUNT(devices); k++)
                put(dir, "devices.allow", devices[k]);
        } else if (!minimal && !strcmp(V1[i], "memory")) {
            put(dir, "memory.limit_in_bytes", "268435456");
        } else if (!minimal && !strcmp(V1[i], "pids")) {
            put(dir, "pids.max", "100");
        } else if (!minimal && !strcmp(V1[i], "cpu")) {
            put(dir, "cpu.shares", "512");
            put(dir, "cpu.cfs_period_us", "100000");
            put(dir, "cpu.cfs_quota_us", "50000");
        }
        tasks[i] = openat(dir, "tasks", O_WRONLY | O_CLOEXEC);
        close(dir);
    }
}

/* Makes the v2 cgroup, sets its limits and a device program of the size that the rules come to. */
static int make_v2(void)
{
    char path[1024];
    cgroup_path(path, sizeof path, "");
    NEED(mkdir(path, 0755));
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!minimal) {
        put(dir, "memory.max", "268435456");
        put(dir, "pids.max", "100");
        put(dir, "cpu.weight", "20");
        put(dir, "cpu.max", "50000 100000");
    }
    // Of what Docker allows: the verifier's work, in as few jumps as it takes.
    static const unsigned devices[] = {0x100003, 0x100005, 0x100007, 0x100008, 0x100009, 0x500000, 0x500001, 0x500002, 0xa000c8};
    enum { DEVICES = sizeof devices / sizeof devices[0] };
    struct bpf_insn program[16 + DEVICES];
    int n = 0;
    program[n++] = (struct bpf_insn){.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1, .off = 0};
    program[n++] = (struct bpf_insn){.code = BPF_ALU | BPF_RSH | BPF_K, .dst_reg = 2, .imm = 16};
    program[n++] = (struct bpf_insn){.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 3, .src_reg = 1, .off = 4};
    program[n++] = (struct bpf_insn){.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 4, .src_reg = 1, .off = 8};
    program[n++] = (struct bpf_insn){.code = BPF_ALU | BPF_LSH | BPF_K, .dst_reg = 3, .imm = 20};
    program[n++] = (struct bpf_insn){.code = BPF_ALU | BPF_OR | BPF_X, .dst_reg = 3, .src_reg = 4};
    for (int i = 0; i < DEVICES; i++)
        program[n++] = (struct bpf_insn){
            .code = BPF_JMP32 | BPF_JEQ | BPF_K, .dst_reg = 3, .imm = devices[i], .off = DEVICES - i + 1};
    program[n++] = (struct bpf_insn){.code = BPF_ALU | BPF_AND | BPF_K, .dst_reg = 2, .imm = ~BPF_DEVCG_ACC_MKNOD};
    program[n++] = (struct bpf_insn){.code = BPF_JMP32 | BPF_JNE | BPF_K, .dst_reg = 2, .imm = 0, .off = 2};
    program[n++] = (struct bpf_insn){.code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1};
    program[n++] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
    program[n++] = (struct bpf_insn){.code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0};
    program[n++] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insns = (uintptr_t)program, .insn_cnt = n,
                           .license = (uintptr_t)"Apache-2.0"};
    int prog = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
    NEED(prog);
    union bpf_attr attach = {.target_fd = dir, .attach_bpf_fd = prog, .attach_type = BPF_CGROUP_DEVICE,
                             .attach_flags = BPF_F_ALLOW_MULTI};
    NEED(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach));
    close(prog);
    return dir;
}

static int new_mount(const char *type, const char *const options[], unsigned attributes)
{
    int fs = syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
    NEED(fs);
    for (; options && *options; options += 2)
        syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, options[0], options[1], 0);
    NEED(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0));
    int mount = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
    NEED(mount);
    close(fs);
    return mount;
}

static void attach(int mount, int dirfd, const char *path)
{
    NEED(syscall(SYS_move_mount, mount, "", dirfd, path, MOVE_MOUNT_F_EMPTY_PATH));
}

static void mount_new(const char *type, const char *const options[], unsigned attributes, int root, const char *path)
{
    int mount = new_mount(type, options, attributes);
    attach(mount, root, path);
    close(mount);
}

/* A bind of what is at `from`, with attributes, at `to` below root. */
static void bind_at(int from_dir, const char *from, unsigned recursive, uint64_t attributes, int root, const char *to)
{
    int tree = syscall(SYS_open_tree, from_dir, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive);
    if (tree < 0)
        return; /* a path that this kernel does not have */
    struct mount_attr attr = {.attr_set = attributes};
    if (attributes)
        NEED(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | recursive, &attr, sizeof attr));
    attach(tree, root, to);
    close(tree);
}

#define SECURE (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

static void mount_cgroups(int root)
{
    if (v2) {
        mount_new("cgroup2", NULL, SECURE | MOUNT_ATTR_RDONLY, root, "sys/fs/cgroup");
        return;
    }
    static const char *const mode[] = {"mode", "755", NULL};
    int top = new_mount("tmpfs", mode, SECURE);
    attach(top, root, "sys/fs/cgroup");
    for (int i = 0; i < COUNT(V1); i++) {
        char path[64];
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s", V1[i]);
        if (access(path, F_OK) < 0)
            continue;
        mkdirat(top, V1[i], 0755);
        const char *const named[] = {"name", "systemd", NULL, NULL};
        int fs = syscall(SYS_fsopen, "cgroup", FSOPEN_CLOEXEC);
        if (!strcmp(V1[i], "systemd")) {
            syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, named[0], named[1], 0);
            syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "none", 0, 0);
        } else {
            syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, V1[i], 0, 0);
        }
        NEED(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0));
        int mount = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, SECURE | MOUNT_ATTR_RDONLY);
        NEED(mount);
        attach(mount, top, V1[i]);
        close(mount);
        close(fs);
    }
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    NEED(syscall(SYS_mount_setattr, top, "", AT_EMPTY_PATH, &attr, sizeof attr));
    close(top);
}

static void fill_dev(int root)
{
    static const struct { const char *name; int minor; } nodes[] = {{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}};
    char path[64];
    umask(0);
    for (int i = 0; i < COUNT(nodes); i++) {
        snprintf(path, sizeof path, "dev/%s", nodes[i].name);
        OR_NOT(mknodat(root, path, S_IFCHR | 0666, makedev(1, nodes[i].minor)));
    }
    OR_NOT(mknodat(root, "dev/tty", S_IFCHR | 0666, makedev(5, 0)));
    OR_NOT(symlinkat("/proc/self/fd", root, "dev/fd"));
    OR_NOT(symlinkat("/proc/self/fd/0", root, "dev/stdin"));
    OR_NOT(symlinkat("/proc/self/fd/1", root, "dev/stdout"));
    OR_NOT(symlinkat("/proc/self/fd/2", root, "dev/stderr"));
    OR_NOT(symlinkat("pts/ptmx", root, "dev/ptmx"));
    umask(022);
}

static void paths(int root)
{
    static const char *const readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
    static const char *const files[] = {"proc/interrupts", "proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list", "proc/timer_stats", "proc/sched_debug"};
    static const char *const dirs[] = {"proc/asound", "proc/acpi", "proc/scsi", "sys/firmware", "sys/devices/virtual/powercap"};
    struct stat st;
    for (int i = 0; i < COUNT(readonly); i++)
        bind_at(root, readonly[i], AT_RECURSIVE, MOUNT_ATTR_RDONLY, root, readonly[i]);
    for (int i = 0; i < COUNT(files); i++)
        if (fstatat(root, files[i], &st, 0) == 0)
            bind_at(root, "dev/null", 0, 0, root, files[i]);
    int empty = -1;
    for (int i = 0; i < COUNT(dirs); i++) {
        if (fstatat(root, dirs[i], &st, 0) < 0)
            continue;
        if (empty < 0) {
            empty = new_mount("tmpfs", NULL, MOUNT_ATTR_RDONLY);
            attach(empty, root, dirs[i]);
        } else {
            int again = syscall(SYS_open_tree, empty, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
            attach(again, root, dirs[i]);
            close(again);
        }
    }
    close(empty);
}

static void mounts(int root)
{
    static const char *const dev[] = {"mode", "755", "size", "65536k", NULL};
    static const char *const pts[] = {"mode", "0620", "ptmxmode", "0666", "gid", "5", NULL};
    static const char *const shm[] = {"mode", "1777", "size", "65536k", NULL};
    mount_new("proc", NULL, SECURE, root, "proc");
    mount_new("tmpfs", dev, MOUNT_ATTR_NOSUID, root, "dev");
    mkdirat(root, "dev/pts", 0755);
    mount_new("devpts", pts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, root, "dev/pts");
    if (!minimal) {
        mkdirat(root, "dev/mqueue", 0755);
        mkdirat(root, "dev/shm", 0755);
        mount_new("sysfs", NULL, SECURE | MOUNT_ATTR_RDONLY, root, "sys");
        mount_cgroups(root);
        mount_new("mqueue", NULL, SECURE, root, "dev/mqueue");
        mount_new("tmpfs", shm, SECURE, root, "dev/shm");
        bind_at(AT_FDCWD, "etc/hostname", AT_RECURSIVE, 0, root, "etc/hostname");
        bind_at(AT_FDCWD, "etc/hosts", AT_RECURSIVE, 0, root, "etc/hosts");
        bind_at(AT_FDCWD, "etc/resolv.conf", AT_RECURSIVE, 0, root, "etc/resolv.conf");
    }
    for (int i = 0; i < binds; i++) {
        char path[64];
        snprintf(path, sizeof path, "mnt/%d", i);
        bind_at(AT_FDCWD, "volume", AT_RECURSIVE, 0, root, path);
    }
    fill_dev(root);
    if (!minimal)
        paths(root);
}

static void loopback_up(void)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    NEED(ioctl(any, SIOCSIFFLAGS, &lo));
    close(any);
}

/* Docker's fourteen capabilities, as user 0. */
#define CAPABILITIES 0xa80425fbULL

static char bpf[1 << 15];
static size_t bpf_length;

static void become(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{.effective = (uint32_t)CAPABILITIES, .permitted = (uint32_t)CAPABILITIES}};
    struct sock_fprog program = {.len = bpf_length / sizeof(struct sock_filter), .filter = (struct sock_filter *)bpf};
    if (bpf_length)
        NEED(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    for (int cap = 0; cap <= 40; cap++)
        if (!(CAPABILITIES & 1ULL << cap))
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    NEED(syscall(SYS_setgroups, 0, NULL));
    NEED(syscall(SYS_setresgid, 0, 0, 0));
    NEED(syscall(SYS_setresuid, 0, 0, 0));
    NEED(syscall(SYS_capset, &header, data));
}

static void read_filter(void)
{
    int fd = minimal || !getenv("FLOOR_BPF") ? -1 : open(getenv("FLOOR_BPF"), O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, bpf, sizeof bpf);
    bpf_length = length < 0 ? 0 : length;
    close(fd);
}

static char *const environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "HOME=/root", NULL};

static void init_process(int ready, int fifo, const int tasks[], char *const arguments[])
{
    char byte;
    for (int i = 0; !v2 && i < COUNT(V1); i++)
        if (tasks[i] >= 0)
            NEED(write(tasks[i], "0", 1));
    if (!v2)
        NEED(unshare(CLONE_NEWCGROUP));
    setsid();
    syscall(SYS_keyctl, 1, "_ses.floor"); /* KEYCTL_JOIN_SESSION_KEYRING */
    loopback_up();
    NEED(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL));
    int root = syscall(SYS_open_tree, AT_FDCWD, rootfs, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    NEED(root);
    attach(root, AT_FDCWD, rootfs);
    mounts(root);
    NEED(fchdir(root));
    NEED(syscall(SYS_pivot_root, ".", "."));
    NEED(umount2(".", MNT_DETACH));
    NEED(chdir("/"));
    NEED(sethostname("bench", 5));
    struct rlimit files = {1024, 1024};
    setrlimit(RLIMIT_NOFILE, &files);
    become();
    NEED(write(ready, "r", 1));
    close(ready);
    if (read(fifo, &byte, 1) != 1)
        _exit(1);
    syscall(SYS_close_range, 3, ~0U, 0);
    execve(arguments[0], arguments, environment);
    _exit(127);
}

static void create(char *const arguments[])
{
    int tasks[COUNT(V1)], pidfd, ready[2], dir = -1;
    char text[64], byte;
    NEED(mkdir(state, 0711));
    char path[8192];
    snprintf(path, sizeof path, "%s/exec.fifo", state);
    NEED(mkfifo(path, 0600));
    int fifo = open(path, O_RDWR | O_CLOEXEC);
    if (v2)
        dir = make_v2();
    else
        make_v1(tasks);
    read_filter();
    NEED(pipe2(ready, O_CLOEXEC));
    struct clone_args args = {
        .flags = CLONE_PIDFD | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | (v2 ? CLONE_NEWCGROUP | CLONE_INTO_CGROUP : 0),
        .pidfd = (uintptr_t)&pidfd, .exit_signal = SIGCHLD, .cgroup = v2 ? dir : 0};
    pid_t pid = syscall(SYS_clone3, &args, sizeof args);
    NEED(pid);
    if (pid == 0) {
        close(ready[0]);
        init_process(ready[1], fifo, tasks, arguments);
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        _exit(1);
    int out = open_in(state, "pid", O_WRONLY | O_CREAT);
    int n = snprintf(text, sizeof text, "%d", pid);
    NEED(write(out, text, n));
}

static pid_t saved_pid(void)
{
    char text[64] = "";
    int fd = open_in(state, "pid", O_RDONLY);
    OR_NOT(read(fd, text, sizeof text - 1) < 0);
    return atoi(text);
}

static void start(void)
{
    int fifo = open_in(state, "exec.fifo", O_WRONLY | O_NONBLOCK);
    NEED(fifo);
    NEED(write(fifo, "0", 1));
    struct pollfd gone = {.fd = fifo};
    NEED(poll(&gone, 1, -1));
}

static void delete(void)
{
    char path[8192];
    for (int i = 0; i < (v2 ? 1 : COUNT(V1)); i++) {
        cgroup_path(path, sizeof path, v2 ? "" : V1[i]);
        OR_NOT(rmdir(path));
    }
    static const char *const files[] = {"exec.fifo", "pid"};
    for (int i = 0; i < COUNT(files); i++) {
        snprintf(path, sizeof path, "%s/%s", state, files[i]);
        OR_NOT(unlink(path));
    }
    NEED(rmdir(state));
}

static void exec_process(char *const arguments[])
{
    int tasks[COUNT(V1)], status, dir = -1;
    char path[1024];
    pid_t pid = saved_pid();
    int pidfd = syscall(SYS_pidfd_open, pid, 0);
    read_filter();
    for (int i = 0; !v2 && i < COUNT(V1); i++) {
        cgroup_path(path, sizeof path, V1[i]);
        tasks[i] = open_in(path, "tasks", O_WRONLY);
    }
    if (v2) {
        cgroup_path(path, sizeof path, "");
        dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    NEED(setns(pidfd, CLONE_NEWPID));
    struct clone_args args = {.flags = v2 ? CLONE_INTO_CGROUP : 0, .exit_signal = SIGCHLD, .cgroup = v2 ? dir : 0};
    pid_t child = syscall(SYS_clone3, &args, sizeof args);
    NEED(child);
    if (child == 0) {
        for (int i = 0; !v2 && i < COUNT(V1); i++)
            if (tasks[i] >= 0)
                NEED(write(tasks[i], "0", 1));
        NEED(setns(pidfd, CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP));
        setsid();
        become();
        execve(arguments[0], arguments, environment);
        _exit(127);
    }
    NEED(waitpid(child, &status, 0));
    _exit(WEXITSTATUS(status));
}

static void print_state(void)
{
    pid_t pid = saved_pid();
    int pidfd = syscall(SYS_pidfd_open, pid, 0);
    struct pollfd exited = {.fd = pidfd, .events = POLLIN};
    int gone = pidfd < 0 || poll(&exited, 1, 0) > 0;
    int fifo = open_in(state, "exec.fifo", O_WRONLY | O_NONBLOCK);
    printf("{\"id\":\"%s\",\"pid\":%d,\"status\":\"%s\"}\n", id, pid, gone ? "stopped" : fifo < 0 ? "running" : "created");
}

static void send_signal(int number)
{
    int pidfd = syscall(SYS_pidfd_open, saved_pid(), 0);
    NEED(syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0));
}

int main(int argc, char **argv)
{
    /* floor --root DIR VERB [--bundle DIR] [-f] ID [ARGUMENT…] */
    if (argc < 5)
        return 1;
    const char *verb = argv[3], *bundle = ".";
    int at = 4;
    for (; at < argc && argv[at][0] == '-'; at++)
        if (!strcmp(argv[at], "--bundle"))
            bundle = argv[++at];
        else if (!strcmp(argv[at], "--binds"))
            binds = atoi(argv[++at]);
        else if (!strcmp(argv[at], "--minimal"))
            minimal = 1;
        else if (!strcmp(argv[at], "--sleep"))
            sleeping = 1;
    id = argv[at++];
    v2 = access("/sys/fs/cgroup/cgroup.procs", F_OK) == 0;
    snprintf(state, sizeof state, "%s/%s", argv[2], id);
    snprintf(cgroup, sizeof cgroup, "%s/%s", getenv("FLOOR_CGROUP"), id);
    snprintf(rootfs, sizeof rootfs, "%s/rootfs", bundle);
    static char *const nothing[] = {"/bin/true", NULL}, *const sleeper[] = {"/bin/sleep", "1000000", NULL};
    if (!strcmp(verb, "create")) {
        NEED(chdir(bundle));
        create(sleeping ? sleeper : nothing);
    } else if (!strcmp(verb, "start"))
        start();
    else if (!strcmp(verb, "delete"))
        delete();
    else if (!strcmp(verb, "exec"))
        exec_process(argv + at);
    else if (!strcmp(verb, "state"))
        print_state();
    else if (!strcmp(verb, "kill"))
        send_signal(atoi(argv[at]));
    else
        return 1;
    return 0;
}
