/**
 * Docker’s rules for system calls, as names by rule. Made by scripts/generate-seccomp.mjs from
 * scripts/seccomp-table.txt, which says what the rules mean; change that and run it.
 */
export const defaultRules: readonly (readonly [rule: string, names: string])[] = [
  [
    'allow',
    `
    read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction
    rt_sigprocmask rt_sigreturn ioctl pread64 pwrite64 readv writev access pipe select
    sched_yield mremap msync mincore madvise shmget shmat shmctl dup dup2 pause nanosleep
    getitimer alarm setitimer getpid sendfile connect accept sendto recvfrom sendmsg
    recvmsg shutdown bind listen getsockname getpeername socketpair setsockopt getsockopt
    fork vfork execve exit wait4 kill uname semget semop semctl shmdt msgget msgsnd msgrcv
    msgctl fcntl flock fsync fdatasync truncate ftruncate getdents getcwd chdir fchdir
    rename mkdir rmdir creat link unlink symlink readlink chmod fchmod chown fchown lchown
    umask gettimeofday getrlimit getrusage sysinfo times ptrace getuid getgid setuid setgid
    geteuid getegid setpgid getppid getpgrp setsid setreuid setregid getgroups setgroups
    setresuid getresuid setresgid getresgid getpgid setfsuid setfsgid getsid capget capset
    rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend sigaltstack utime mknod
    statfs fstatfs getpriority setpriority sched_setparam sched_getparam sched_setscheduler
    sched_getscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval
    mlock munlock mlockall munlockall modify_ldt prctl arch_prctl adjtimex setrlimit sync
    gettid readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr
    llistxattr flistxattr removexattr lremovexattr fremovexattr tkill time futex
    sched_setaffinity sched_getaffinity set_thread_area io_setup io_destroy io_getevents
    io_submit io_cancel get_thread_area epoll_create epoll_ctl_old epoll_wait_old
    remap_file_pages getdents64 set_tid_address restart_syscall semtimedop fadvise64
    timer_create timer_settime timer_gettime timer_getoverrun timer_delete clock_gettime
    clock_getres clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes mq_open
    mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr waitid ioprio_set
    ioprio_get inotify_init inotify_add_watch inotify_rm_watch openat mkdirat mknodat
    fchownat futimesat newfstatat unlinkat renameat linkat symlinkat readlinkat fchmodat
    faccessat pselect6 ppoll set_robust_list get_robust_list splice tee sync_file_range
    vmsplice utimensat epoll_pwait signalfd timerfd_create eventfd fallocate
    timerfd_settime timerfd_gettime accept4 signalfd4 eventfd2 epoll_create1 dup3 pipe2
    inotify_init1 preadv pwritev rt_tgsigqueueinfo recvmmsg fanotify_mark prlimit64
    name_to_handle_at clock_adjtime syncfs sendmmsg getcpu process_vm_readv
    process_vm_writev sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create
    execveat membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc
    pkey_free statx io_pgetevents rseq uretprobe pidfd_send_signal pidfd_open close_range
    openat2 faccessat2 epoll_pwait2 landlock_create_ruleset landlock_add_rule
    landlock_restrict_self memfd_secret process_mrelease futex_waitv cachestat fchmodat2
    map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount mseal
    setxattrat getxattrat listxattrat removexattrat waitpid socketcall ipc sigreturn
    sigprocmask _llseek _newselect ugetrlimit mmap2 truncate64 ftruncate64 stat64 lstat64
    fstat64 lchown32 getuid32 getgid32 geteuid32 getegid32 setreuid32 setregid32
    getgroups32 setgroups32 fchown32 setresuid32 getresuid32 setresgid32 getresgid32
    chown32 setuid32 setgid32 setfsuid32 setfsgid32 fcntl64 sendfile64 statfs64 fstatfs64
    fadvise64_64 fstatat64 clock_gettime64 clock_adjtime64 clock_getres_time64
    clock_nanosleep_time64 timer_gettime64 timer_settime64 timerfd_gettime64
    timerfd_settime64 utimensat_time64 pselect6_time64 ppoll_time64 io_pgetevents_time64
    recvmmsg_time64 mq_timedsend_time64 mq_timedreceive_time64 semtimedop_time64
    rt_sigtimedwait_time64 futex_time64 sched_rr_get_interval_time64
    `,
  ],
  [
    'socket',
    `
    socket
    `,
  ],
  [
    'clone',
    `
    clone
    `,
  ],
  [
    'CAP_SYS_ADMIN|CAP_SYSLOG',
    `
    syslog
    `,
  ],
  [
    'personality',
    `
    personality
    `,
  ],
  [
    'CAP_SYS_TTY_CONFIG',
    `
    vhangup
    `,
  ],
  [
    'CAP_SYS_CHROOT',
    `
    chroot
    `,
  ],
  [
    'CAP_SYS_PACCT',
    `
    acct
    `,
  ],
  [
    'CAP_SYS_TIME',
    `
    settimeofday clock_settime stime clock_settime64
    `,
  ],
  [
    'CAP_SYS_ADMIN',
    `
    mount umount2 sethostname setdomainname quotactl lookup_dcookie unshare fanotify_init
    setns open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr quotactl_fd
    lsm_get_self_attr lsm_set_self_attr lsm_list_modules umount
    `,
  ],
  [
    'CAP_SYS_BOOT',
    `
    reboot
    `,
  ],
  [
    'CAP_SYS_RAWIO',
    `
    iopl ioperm
    `,
  ],
  [
    'CAP_SYS_MODULE',
    `
    init_module delete_module finit_module
    `,
  ],
  [
    'CAP_SYS_NICE',
    `
    mbind set_mempolicy get_mempolicy set_mempolicy_home_node
    `,
  ],
  [
    'CAP_SYS_ADMIN|CAP_PERFMON',
    `
    perf_event_open
    `,
  ],
  [
    'CAP_DAC_READ_SEARCH',
    `
    open_by_handle_at
    `,
  ],
  [
    'CAP_SYS_PTRACE',
    `
    kcmp pidfd_getfd process_madvise
    `,
  ],
  [
    'CAP_SYS_ADMIN|CAP_BPF',
    `
    bpf
    `,
  ],
  [
    'clone3',
    `
    clone3
    `,
  ],
]
