/* Runs a fuzz target over every file of the directories given: the corpora are tests with any
 * compiler. Linked with one fuzz_*.c. With -v first each file is named before it is run, so that a
 * crash tells which one it was. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_BYTES_MAX ((size_t)16 << 20)

/* False: could not be read. */
static bool replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    uint8_t *data = malloc(FILE_BYTES_MAX);
    size_t size = data ? fread(data, 1, FILE_BYTES_MAX, f) : 0;
    bool read = data && !ferror(f);
    fclose(f);
    /* In storage of exactly its size, so that a sanitizer sees a read past the end. */
    uint8_t *exact = read ? realloc(data, size ? size : 1) : NULL;
    if (!exact) {
        free(data);
        return false;
    }
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return true;
}

/* Files replayed, or -1. */
static long replay_directory(const char *directory, bool verbose)
{
    long count = 0;
    DIR *d = opendir(directory);
    if (!d)
        return -1;
    for (struct dirent *entry; count >= 0 && (entry = readdir(d));) {
        char path[4096];
        struct stat st;
        int n = snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof path || stat(path, &st) != 0) {
            count = -1;
        } else if (S_ISREG(st.st_mode)) {
            if (verbose)
                fprintf(stderr, "%s\n", path);
            count = replay_file(path) ? count + 1 : -1;
        }
    }
    closedir(d);
    return count;
}

int main(int argc, char **argv)
{
    long total = 0;
    bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
    for (int i = verbose ? 2 : 1; i < argc; i++) {
        long count = replay_directory(argv[i], verbose);
        if (count < 0) {
            fprintf(stderr, "%s: cannot be read\n", argv[i]);
            return EXIT_FAILURE;
        }
        total += count;
    }
    printf("%ld files replayed\n", total);
    return total > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
