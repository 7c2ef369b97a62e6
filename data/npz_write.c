// npz_write.c -- writes tables as numpy's .npz, atomically.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "npz.h"

// ---- where libzip writes to -----------------------------------------------------------------------------------------

// The file on its way to its place. libzip seeks back to note sizes and checksums.
typedef struct sink {
    data_writer *writer;
    uint64_t at;
    zip_error_t error;
} sink;

static zip_int64_t seek(sink *s, void *data, zip_uint64_t size) {
    zip_source_args_seek_t *args = ZIP_SOURCE_GET_ARGS(zip_source_args_seek_t, data, size, &s->error);
    if (args == NULL || s->writer->fd < 0) return -1;
    off_t at = lseek(s->writer->fd, (off_t)args->offset, args->whence);
    if (at < 0) {
        zip_error_set(&s->error, ZIP_ER_SEEK, errno);
        return -1;
    }
    s->at = (uint64_t)at;
    return 0;
}

static zip_int64_t put(sink *s, const void *data, zip_uint64_t size) {
    data_writer_put(s->writer, data, size);
    if (s->writer->status != AD_OK) {
        zip_error_set(&s->error, ZIP_ER_WRITE, EIO);
        return -1;
    }
    s->at += size;
    return (zip_int64_t)size;
}

static zip_int64_t sink_call(void *user, void *data, zip_uint64_t size, zip_source_cmd_t command) {
    sink *s = user;
    switch (command) {
        case ZIP_SOURCE_SUPPORTS:
            return ZIP_SOURCE_SUPPORTS_WRITABLE;
        case ZIP_SOURCE_BEGIN_WRITE:
        case ZIP_SOURCE_COMMIT_WRITE:
        case ZIP_SOURCE_ROLLBACK_WRITE:
        case ZIP_SOURCE_REMOVE:
        case ZIP_SOURCE_FREE:
            return 0;  // the writer decides what becomes of the file
        case ZIP_SOURCE_WRITE:
            return put(s, data, size);
        case ZIP_SOURCE_SEEK_WRITE:
            return seek(s, data, size);
        case ZIP_SOURCE_TELL_WRITE:
            return (zip_int64_t)s->at;
        case ZIP_SOURCE_ERROR:
            return zip_error_to_data(&s->error, data, size);
        case ZIP_SOURCE_STAT:
            zip_error_set(&s->error, ZIP_ER_READ, ENOENT);
            return -1;  // nothing there yet
        default:
            zip_error_set(&s->error, ZIP_ER_OPNOTSUPP, 0);
            return -1;
    }
}

// ---- members --------------------------------------------------------------------------------------------------------

// The bytes of a member, without a copy: its header, and its rows.
static zip_source_t *member_source(const data_table *table, const char *header, size_t header_size, zip_error_t *why) {
    size_t row = (size_t)table->columns * data_type_size(table->type);
    bool packed = row == data_row_stride(table);
    size_t pieces = packed ? 1 : (size_t)table->rows;
    zip_buffer_fragment_t *piece = malloc((pieces + 1) * sizeof *piece);
    if (piece == NULL) {
        zip_error_set(why, ZIP_ER_MEMORY, 0);
        return NULL;
    }
    piece[0] = (zip_buffer_fragment_t){(zip_uint8_t *)(uintptr_t)header, header_size};
    for (size_t i = 0; i < pieces; i++) {
        const unsigned char *bytes = data_elements_at(table, (int64_t)i, 0).bytes;
        piece[i + 1].data = (zip_uint8_t *)(uintptr_t)bytes;
        piece[i + 1].length = packed ? row * (size_t)table->rows : row;
    }
    zip_source_t *source = zip_source_buffer_fragment_create(piece, pieces + 1, 0, why);
    free(piece);
    return source;
}

// header outlives the call: libzip reads it when the file is closed.
static ad_status add_member(zip_t *zip, const data_named *array, bool compress, char header[DATA_NPY_HEADER]) {
    char name[300];
    snprintf(name, sizeof name, "%s" DATA_NPZ_ENDING, array->name);
    zip_source_t *source =
        member_source(array->table, header, data_npy_print(array->table, header), zip_get_error(zip));
    zip_int64_t index = source == NULL ? -1 : zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
        zip_source_free(source);
        return AD_EIO;
    }
    // The same tables give the same file.
    enum { FIRST_DAY = 33 };  // 1 January 1980
    zip_file_set_dostime(zip, (zip_uint64_t)index, 0, FIRST_DAY, 0);
    return zip_set_file_compression(zip, (zip_uint64_t)index, compress ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0) == 0
               ? AD_OK
               : AD_EIO;
}

static ad_status write_members(const char *path, const data_named *arrays, int n, bool compress, data_writer *writer,
                               char (*headers)[DATA_NPY_HEADER]) {
    sink s = {.writer = writer};
    zip_error_t why;
    zip_error_init(&why);
    zip_error_init(&s.error);
    zip_source_t *target = zip_source_function_create(sink_call, &s, &why);
    zip_t *zip = target == NULL ? NULL : zip_open_from_source(target, ZIP_CREATE, &why);
    ad_status status = AD_OK;
    if (zip == NULL) {
        zip_source_free(target);
        status = data_fail_zip(writer->error, path, "write it", &why);
    }
    for (int i = 0; i < n && status == AD_OK; i++) status = add_member(zip, &arrays[i], compress, headers[i]);
    if (zip != NULL && (status != AD_OK || zip_close(zip) != 0)) {
        status = writer->status != AD_OK ? writer->status
                                         : data_fail_zip(writer->error, path, "write it", zip_get_error(zip));
        zip_discard(zip);
    }
    zip_error_fini(&s.error);
    zip_error_fini(&why);
    return status;
}

static ad_status check_arrays(const char *path, const data_named *arrays, int n, ad_error *error) {
    if (n < 1) return ad_fail(error, AD_EARG, "%s: no arrays to write", path);
    for (int i = 0; i < n; i++) {
        if (arrays[i].name == NULL || !data_zip_name_ok(arrays[i].name)) {
            return ad_fail(error, AD_EARG, "%s: array %d has no plain name", path, i);
        }
        for (int k = 0; k < i; k++) {
            if (strcmp(arrays[i].name, arrays[k].name) != 0) continue;
            return ad_fail(error, AD_EARG, "%s: two arrays are called \"%s\"", path, arrays[i].name);
        }
        ad_status status = data_check_written(path, arrays[i].table, error);
        if (status != AD_OK) return status;
    }
    return AD_OK;
}

ad_status data_write_npz(const char *path, const data_named *arrays, int n, bool compress, ad_error *error) {
    ad_status status = check_arrays(path, arrays, n, error);
    if (status != AD_OK) return status;
    char(*headers)[DATA_NPY_HEADER] = malloc((size_t)n * sizeof *headers);
    if (headers == NULL) return ad_fail(error, AD_ENOMEM, "%s: out of memory", path);
    data_writer writer;
    data_writer_open(&writer, path, error);
    if (writer.status == AD_OK) status = write_members(path, arrays, n, compress, &writer, headers);
    free(headers);
    if (status == AD_OK) return data_writer_commit(&writer);
    data_writer_abandon(&writer, status);
    return status;
}
