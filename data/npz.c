// npz.c -- reads arrays out of numpy's .npz, which is a zip file of .npy members.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npz.h"

enum { LONGEST_NAME = 256 };

bool data_zip_name_ok(const char *name) {
    size_t size = strlen(name);
    if (size < 1 || size > LONGEST_NAME || *name == '/' || !data_utf8_ok(name)) return false;
    for (const char *at = name; *at != '\0'; at++) {
        bool starts = at == name || at[-1] == '/';
        if ((unsigned char)*at < ' ' || *at == 127 || *at == '\\') return false;
        if (starts && at[0] == '.' && at[1] == '.' && (at[2] == '/' || at[2] == '\0')) return false;
    }
    return true;
}

ad_status data_fail_zip(ad_error *error, const char *path, const char *action, zip_error_t *why) {
    switch (zip_error_code_zip(why)) {
        case ZIP_ER_OK:  // of a source that could not be made
        case ZIP_ER_MEMORY:
            return ad_fail(error, AD_ENOMEM, "%s: could not %s: out of memory", path, action);
        case ZIP_ER_NOZIP:
            return ad_fail(error, AD_EFORMAT, "%s: could not %s: it is not a zip file", path, action);
        case ZIP_ER_INCONS:
            return ad_fail(error, AD_EFORMAT, "%s: could not %s: its directory and members contradict each other", path,
                           action);
        case ZIP_ER_CRC:
            return ad_fail(error, AD_EFORMAT, "%s: could not %s: its checksum is wrong", path, action);
        case ZIP_ER_EXISTS:
            return ad_fail(error, AD_EFORMAT, "%s: could not %s: two members have the same name", path, action);
        case ZIP_ER_EOF:
            return ad_fail(error, AD_EFORMAT, "%s: could not %s: it ends too early", path, action);
        default:
            return ad_fail(error, AD_EFORMAT,
                           "%s: could not %s: the zip file is damaged or of a kind that is not read (%d)", path, action,
                           zip_error_code_zip(why));
    }
}

// A zip file over a mapped one.
typedef struct npz {
    const char *path;
    ad_error *error;
    data_map map;
    zip_t *zip;
    const char **names;  // [n] of the arrays, with their ending, sorted; they belong to zip
    int64_t n;
} npz;

static void close_npz(npz *z) {
    if (z->zip != NULL) zip_discard(z->zip);
    free(z->names);
    data_unmap(&z->map);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// A name without its ending, or 0 when it has another.
static size_t stem(const char *name) {
    size_t size = strlen(name), ending = strlen(DATA_NPZ_ENDING);
    bool array = size > ending && strcmp(name + size - ending, DATA_NPZ_ENDING) == 0;
    return array ? size - ending : 0;
}

// All names are looked at, though only arrays are kept.
static ad_status read_names(npz *z) {
    zip_int64_t count = zip_get_num_entries(z->zip, 0);
    z->names = malloc((size_t)count * sizeof *z->names + 1);
    if (z->names == NULL) return ad_fail(z->error, AD_ENOMEM, "%s: out of memory for its names", z->path);
    char shown[60];
    for (zip_int64_t i = 0; i < count; i++) {
        const char *name = zip_get_name(z->zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        if (name == NULL || !data_zip_name_ok(name)) {
            if (name == NULL) name = "";
            return ad_fail(z->error, AD_EFORMAT, "%s: member %lld has the name \"%s\", expected a plain one", z->path,
                           (long long)i, data_quote(shown, sizeof shown, name, strlen(name)));
        }
        z->names[i] = name;
    }
    qsort(z->names, (size_t)count, sizeof *z->names, by_name);
    for (zip_int64_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(z->names[i], z->names[i - 1]) == 0) {
            return ad_fail(z->error, AD_EFORMAT, "%s: two members have the same name, \"%s\"", z->path,
                           data_quote(shown, sizeof shown, z->names[i], strlen(z->names[i])));
        }
    }
    for (zip_int64_t i = 0; i < count; i++) {
        if (stem(z->names[i]) > 0) z->names[z->n++] = z->names[i];
    }
    return AD_OK;
}

static ad_status open_npz(npz *z, const char *path, ad_error *error) {
    *z = (npz){.path = path, .error = error};
    ad_status status = data_map_file(path, &z->map, error);
    if (status != AD_OK) return status;
    zip_error_t why;
    zip_error_init(&why);
    zip_source_t *source = zip_source_buffer_create(z->map.bytes, z->map.size, 0, &why);
    if (source != NULL) z->zip = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &why);
    if (z->zip == NULL) {
        zip_source_free(source);
        status = data_fail_zip(error, path, "read it", &why);
    }
    zip_error_fini(&why);
    return status == AD_OK ? read_names(z) : status;
}

// ---- names ----------------------------------------------------------------------------------------------------------

// In one block: pointers, then texts.
static char **copy_names(const npz *z) {
    size_t text = 0;
    for (int64_t i = 0; i < z->n; i++) text += stem(z->names[i]) + 1;
    char **names = malloc((size_t)(z->n + 1) * sizeof *names + text);
    if (names == NULL) {
        ad_fail(z->error, AD_ENOMEM, "%s: out of memory for its names", z->path);
        return NULL;
    }
    char *at = (char *)(names + z->n + 1);
    for (int64_t i = 0; i < z->n; i++) {
        names[i] = at;
        at = (char *)mempcpy(at, z->names[i], stem(z->names[i])) + 1;
        at[-1] = '\0';
    }
    names[z->n] = NULL;
    return names;
}

char **data_npz_names(const char *path, ad_error *error) {
    npz z;
    char **names = open_npz(&z, path, error) == AD_OK ? copy_names(&z) : NULL;
    close_npz(&z);
    return names;
}

// What there is, for a message.
static void list_names(const npz *z, char *out, size_t room) {
    size_t n = 0;
    snprintf(out, room, "none");
    for (int64_t i = 0; i < z->n && n + 50 < room; i++) {
        char shown[40];
        data_quote(shown, sizeof shown, z->names[i], stem(z->names[i]));
        n += (size_t)snprintf(out + n, room - n, "%s%s", i == 0 ? "" : ", ", shown);
        if (i + 1 < z->n && n + 50 >= room) snprintf(out + n, room - n, ", ...");
    }
}

static const char *choose(const npz *z, const char *name) {
    char list[160];
    if (name == NULL && z->n == 1) return z->names[0];
    for (int64_t i = 0; name != NULL && i < z->n; i++) {
        size_t size = stem(z->names[i]);
        if (strlen(name) == size && memcmp(name, z->names[i], size) == 0) return z->names[i];
    }
    list_names(z, list, sizeof list);
    if (name == NULL) {
        ad_fail(z->error, AD_EFORMAT, "%s: %lld arrays (%s), expected one, or to be told which (data_read_npz)",
                z->path, (long long)z->n, list);
    } else {
        ad_fail(z->error, AD_EARG, "%s: no array \"%s\"; it has: %s", z->path, name, list);
    }
    return NULL;
}

// ---- elements -------------------------------------------------------------------------------------------------------

static ad_status read_member(data_stream *s, void *out, size_t size, size_t *n) {
    for (*n = 0; *n < size;) {
        zip_int64_t got = zip_fread(s->from, (char *)out + *n, size - *n);
        if (got < 0) return data_fail_zip(s->error, s->path, "read it", zip_file_get_error(s->from));
        if (got == 0) break;
        *n += (size_t)got;
    }
    return AD_OK;
}

// Whether a member is of a kind that is read; its sizes.
static ad_status check_member(const npz *z, const char *label, const char *name, zip_stat_t *stat) {
    zip_stat_init(stat);
    if (zip_stat(z->zip, name, ZIP_FL_ENC_RAW, stat) != 0) {
        return data_fail_zip(z->error, label, "find it", zip_get_error(z->zip));
    }
    if ((stat->valid & ZIP_STAT_ENCRYPTION_METHOD) == 0 || stat->encryption_method != ZIP_EM_NONE) {
        return ad_fail(z->error, AD_EFORMAT, "%s: the member is encrypted", label);
    }
    if (stat->comp_method != ZIP_CM_STORE && stat->comp_method != ZIP_CM_DEFLATE) {
        return ad_fail(z->error, AD_EFORMAT, "%s: compressed by method %d, expected 0 (stored) or 8 (deflate)", label,
                       stat->comp_method);
    }
    if (stat->comp_size <= z->map.size) return AD_OK;
    return ad_fail(z->error, AD_EFORMAT, "%s: %llu compressed bytes in a file of %zu", label,
                   (unsigned long long)stat->comp_size, z->map.size);
}

static data_table *read_array(const npz *z, const char *label, const char *name) {
    zip_stat_t stat;
    if (check_member(z, label, name, &stat) != AD_OK) return NULL;
    data_stream stream = {.path = label, .error = z->error, .packed = stat.comp_size, .read = read_member};
    stream.from = zip_fopen_index(z->zip, stat.index, 0);
    if (stream.from == NULL) {
        data_fail_zip(z->error, label, "read it", zip_get_error(z->zip));
        return NULL;
    }
    data_array array = {.path = label, .error = z->error};
    data_table *table = NULL;
    if (data_stream_start(&stream) == AD_OK && data_npy_header(&array, stream.head, stream.head_size) == AD_OK &&
        data_array_check(&array, stat.size) == AD_OK) {
        table = data_stream_array(&stream, &array);
    }
    zip_fclose(stream.from);
    return table;
}

data_table *data_read_npz(const char *path, const char *name, ad_error *error) {
    npz z;
    const char *member = open_npz(&z, path, error) == AD_OK ? choose(&z, name) : NULL;
    data_table *table = NULL;
    if (member != NULL) {
        size_t size = strlen(path) + strlen(member) + 3;
        char *label = malloc(size);  // "a.npz: x.npy"
        if (label == NULL) {
            ad_fail(error, AD_ENOMEM, "%s: out of memory", path);
        } else {
            snprintf(label, size, "%s: %s", path, member);
            table = read_array(&z, label, member);
        }
        free(label);
    }
    close_npz(&z);
    return table;
}
