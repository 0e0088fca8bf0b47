/*
 * Stands before the C library (LD_PRELOAD) and lets system calls fail, fall short, or end the
 * process. Only calls on paths below one directory count, and on descriptors opened there.
 * One thread at a time may be watched.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FAIL = 1, SHORT, KILL_BEFORE, KILL_AFTER, KILL_WITHIN };
enum { MOST_CALLS = 1 << 16, MOST_FILES = 1 << 12 };

static char base[4096];
static size_t base_length;
static unsigned char is_watched[MOST_FILES];
/* What was called, a letter each. */
static char trace[MOST_CALLS];
static long calls;
static struct { long first, times; const char *kinds; int action, error; } fault;
static long happened;

/* Count from zero the calls below the directory; no fault. "" ends it. */
void shim_watch(const char *directory)
{
    base_length = strlen(directory);
    if (base_length >= sizeof base)
        base_length = 0;
    memcpy(base, directory, base_length);
    memset(is_watched, 0, sizeof is_watched);
    memset(&fault, 0, sizeof fault);
    calls = happened = 0;
}

/*
 * Let the call with that number (from 0) meet the fault, and then each whose kind is one of
 * `kinds`, `times` in all. `kinds` must stay where it is.
 */
void shim_arm(long first, long times, const char *kinds, int action, int error)
{
    fault.first = first, fault.times = times, fault.kinds = kinds;
    fault.action = action, fault.error = error;
}

void shim_heal(void) { fault.times = 0; }
long shim_calls(void) { return calls; }
long shim_happened(void) { return happened; }
const char *shim_trace(void) { return trace; }

static int is_below(const char *path)
{
    return base_length && path && !strncmp(path, base, base_length)
        && (path[base_length] == '/' || !path[base_length]);
}

static int is_open_below(int fd) { return fd >= 0 && fd < MOST_FILES && is_watched[fd]; }

/* Whether a name in an open directory counts. */
static int is_at(int directory, const char *path)
{
    return path && *path == '/' ? is_below(path) : is_open_below(directory);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Count a call; what is to happen to it, 0 for nothing. Kills where that comes before it. */
static int next(char kind)
{
    long number = calls++;
    if (number < MOST_CALLS)
        trace[number] = kind;
    if (number < fault.first || happened >= fault.times || !strchr(fault.kinds, kind))
        return 0;
    happened++;
    if (fault.action == KILL_BEFORE)
        die();
    if (fault.action == FAIL)
        errno = fault.error;
    return fault.action;
}

#define REAL(result, name, ...)                                     \
    static result (*real)(__VA_ARGS__);                             \
    if (!real)                                                      \
        real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);

/* A call that does something or fails with -1. */
#define CALL(kind, counts, arguments)                               \
    if (!(counts))                                                  \
        return real arguments;                                      \
    int happens = next(kind);                                       \
    if (happens == FAIL)                                            \
        return -1;                                                  \
    int result = real arguments;                                    \
    if (happens == KILL_AFTER)                                      \
        die();                                                      \
    return result;

static char kind_of(int flags)
{
    return flags & O_CREAT ? 'c' : (flags & O_ACCMODE) == O_RDONLY ? 'r' : 'o';
}

/* The mode is there where the flags say so. */
#define OPEN(name, counts, parameters, types, arguments)            \
    int name parameters                                             \
    {                                                               \
        REAL(int, name, types, ...)                                 \
        mode_t mode = 0;                                            \
        if (flags & (O_CREAT | O_TMPFILE)) {                        \
            va_list rest;                                           \
            va_start(rest, flags);                                  \
            mode = va_arg(rest, mode_t);                            \
            va_end(rest);                                           \
        }                                                           \
        if (!(counts))                                              \
            return real arguments;                                  \
        int happens = next(kind_of(flags));                         \
        if (happens == FAIL)                                        \
            return -1;                                              \
        int fd = real arguments;                                    \
        if (happens == KILL_AFTER)                                  \
            die();                                                  \
        if (fd >= 0 && fd < MOST_FILES)                             \
            is_watched[fd] = 1;                                     \
        return fd;                                                  \
    }
#define COMMA ,
#define OPEN_PATH(name)                                             \
    OPEN(name, is_below(path), (const char *path, int flags, ...),  \
         const char * COMMA int, (path, flags, mode))
OPEN_PATH(open)
OPEN_PATH(open64)
#define OPEN_AT(name)                                               \
    OPEN(name, is_at(directory, path),                              \
         (int directory, const char *path, int flags, ...),         \
         int COMMA const char * COMMA int, (directory, path, flags, mode))
OPEN_AT(openat)
OPEN_AT(openat64)

int close(int fd)
{
    REAL(int, close, int)
    if (is_open_below(fd))
        is_watched[fd] = 0;
    return real(fd);
}

DIR *opendir(const char *path)
{
    REAL(DIR *, opendir, const char *)
    if (is_below(path) && next('l') == FAIL)
        return NULL;
    return real(path);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(int, mkdir, const char *, mode_t)
    CALL('m', is_below(path), (path, mode))
}

int unlink(const char *path)
{
    REAL(int, unlink, const char *)
    CALL('u', is_below(path), (path))
}

int rename(const char *source, const char *target)
{
    REAL(int, rename, const char *, const char *)
    CALL('n', is_below(source), (source, target))
}

int unlinkat(int directory, const char *path, int flags)
{
    REAL(int, unlinkat, int, const char *, int)
    CALL('u', is_at(directory, path), (directory, path, flags))
}

int renameat(int from, const char *source, int to, const char *target)
{
    REAL(int, renameat, int, const char *, int, const char *)
    CALL('n', is_at(from, source), (from, source, to, target))
}

int link(const char *source, const char *target)
{
    REAL(int, link, const char *, const char *)
    CALL('h', is_below(source), (source, target))
}

int linkat(int from, const char *source, int to, const char *target, int flags)
{
    REAL(int, linkat, int, const char *, int, const char *, int)
    CALL('h', is_at(from, source), (from, source, to, target, flags))
}

int fsync(int fd)
{
    REAL(int, fsync, int)
    CALL('s', is_open_below(fd), (fd))
}

int fdatasync(int fd)
{
    REAL(int, fdatasync, int)
    CALL('s', is_open_below(fd), (fd))
}

int flock(int fd, int operation)
{
    REAL(int, flock, int, int)
    CALL('f', is_open_below(fd), (fd, operation))
}

#define TRUNCATE(name, offset)                                      \
    int name(int fd, offset length)                                 \
    {                                                               \
        REAL(int, name, int, offset)                                \
        CALL('t', is_open_below(fd), (fd, length))                  \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define LOOK(name, type)                                            \
    int name(const char *path, type *found)                         \
    {                                                               \
        REAL(int, name, const char *, type *)                       \
        CALL('k', is_below(path), (path, found))                    \
    }
LOOK(stat, struct stat)
LOOK(stat64, struct stat64)
LOOK(lstat, struct stat)
LOOK(lstat64, struct stat64)

#define LOOK_OPEN(name, type)                                       \
    int name(int fd, type *found)                                   \
    {                                                               \
        REAL(int, name, int, type *)                                \
        CALL('k', is_open_below(fd), (fd, found))                   \
    }
LOOK_OPEN(fstat, struct stat)
LOOK_OPEN(fstat64, struct stat64)

/* A call that moves so many bytes: `arguments` moves all, `half` about half of them. */
#define MOVE(kind, fd, arguments, half)                             \
    if (!is_open_below(fd))                                         \
        return real arguments;                                      \
    int happens = next(kind);                                       \
    if (happens == FAIL)                                            \
        return -1;                                                  \
    int is_half = happens == SHORT || happens == KILL_WITHIN;       \
    ssize_t moved = is_half ? (half) : real arguments;              \
    if (happens == KILL_AFTER || happens == KILL_WITHIN)            \
        die();                                                      \
    return moved;

static size_t half_of(size_t length) { return length > 1 ? length / 2 : length; }

ssize_t write(int fd, const void *data, size_t length)
{
    REAL(ssize_t, write, int, const void *, size_t)
    MOVE('w', fd, (fd, data, length), real(fd, data, half_of(length)))
}

/* Half of the bytes, which end within one of the parts. */
static ssize_t write_half(int fd, const struct iovec *parts, int count)
{
    size_t left = 0;
    for (int n = 0; n < count; n++)
        left += parts[n].iov_len;
    left = half_of(left);
    ssize_t written = 0;
    for (int n = 0; n < count && left; n++) {
        size_t length = parts[n].iov_len < left ? parts[n].iov_len : left;
        struct iovec part = {parts[n].iov_base, length};
        static ssize_t (*real)(int, const struct iovec *, int);
        if (!real)
            real = (ssize_t(*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
        ssize_t done = real(fd, &part, 1);
        if (done < 0)
            return written ? written : -1;
        written += done, left -= length;
    }
    return written;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL(ssize_t, writev, int, const struct iovec *, int)
    MOVE('w', fd, (fd, parts, count), write_half(fd, parts, count))
}

#define PWRITE(name, offset)                                        \
    ssize_t name(int fd, const void *data, size_t length, offset at) \
    {                                                               \
        REAL(ssize_t, name, int, const void *, size_t, offset)      \
        MOVE('p', fd, (fd, data, length, at), real(fd, data, half_of(length), at)) \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define PREAD(name, offset)                                         \
    ssize_t name(int fd, void *data, size_t length, offset at)      \
    {                                                               \
        REAL(ssize_t, name, int, void *, size_t, offset)            \
        MOVE('g', fd, (fd, data, length, at), real(fd, data, half_of(length), at)) \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)
