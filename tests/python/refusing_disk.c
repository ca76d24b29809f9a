/* Answers of file systems, for LD_PRELOAD. REFUSE lists what is refused: flock (Lustre without -o flock), fchmod (CIFS,
   exFAT, S3 mounts), fchown, fsync-folder (FUSE, SMB), fsync. FAIL=<call>:<part of a path>:<errno> makes open, write or
   fsync fail for files of that path. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

static int refused(const char *what) {
    const char *list = getenv("REFUSE");
    const char *at = list ? strstr(list, what) : NULL;
    size_t length = strlen(what);
    return at && (at[length] == '\0' || at[length] == ' ');
}

static int failing(const char *call, const char *path) {
    const char *fail = getenv("FAIL");
    char wanted[16], part[128];
    int number;
    if (!fail || sscanf(fail, "%15[^:]:%127[^:]:%d", wanted, part, &number) != 3) return 0;
    if (strcmp(wanted, call) || !strstr(path, part)) return 0;
    errno = number;
    return 1;
}

static int failing_file(const char *call, int file) {
    char name[64], path[4096];
    if (!getenv("FAIL")) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = '\0';
    return failing(call, path);
}

int flock(int file, int how) {
    if (refused("flock")) { errno = ENOSYS; return -1; }
    return REAL(int (*)(int, int), "flock")(file, how);
}

int fchmod(int file, mode_t mode) {
    if (refused("fchmod")) { errno = EPERM; return -1; }
    return REAL(int (*)(int, mode_t), "fchmod")(file, mode);
}

int fchown(int file, uid_t user, gid_t group) {
    if (refused("fchown")) { errno = EPERM; return -1; }
    return REAL(int (*)(int, uid_t, gid_t), "fchown")(file, user, group);
}

int fsync(int file) {
    struct stat about;
    int folder = fstat(file, &about) == 0 && S_ISDIR(about.st_mode);
    if (refused(folder ? "fsync-folder" : "fsync-file")) { errno = EINVAL; return -1; }
    if (failing_file("fsync", file)) return -1;
    return REAL(int (*)(int), "fsync")(file);
}

ssize_t write(int file, const void *bytes, size_t count) {
    if (failing_file("write", file)) return -1;
    return REAL(ssize_t (*)(int, const void *, size_t), "write")(file, bytes, count);
}

int open64(const char *path, int how, ...) {
    va_list rest;
    va_start(rest, how);
    mode_t mode = how & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (how & (O_WRONLY | O_RDWR) && failing("open", path)) return -1;
    return REAL(int (*)(const char *, int, ...), "open64")(path, how, mode);
}
