// digest.c -- the digest of a .safetensors file, its place in the header, and which names and texts may stand there.
#include <string.h>

#include <xxhash.h>

#include "tensors.h"

ad_status data_digest(const data_piece *pieces, int64_t n, char out[DATA_DIGEST_SIZE + 1], ad_error *error) {
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL) return ad_fail(error, AD_ENOMEM, "out of memory for a digest");
    XXH3_128bits_reset(state);
    for (int64_t i = 0; i < n; i++) XXH3_128bits_update(state, pieces[i].bytes, pieces[i].size);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    XXH3_freeState(state);
    for (int i = 0; i < DATA_DIGEST_SIZE; i++) {
        out[i] = "0123456789abcdef"[canonical.digest[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
    }
    out[DATA_DIGEST_SIZE] = '\0';
    return AD_OK;
}

const char *data_digest_place(const char *header, size_t size) {
    const size_t mark = strlen(DATA_DIGEST_MARK);
    const char *found = memmem(header, size, DATA_DIGEST_MARK, mark);
    if (found == NULL || (size_t)(header + size - found) < mark + DATA_DIGEST_SIZE + 1) return NULL;
    return found[mark + DATA_DIGEST_SIZE] == '"' ? found + mark : NULL;
}

bool data_key_is_ours(const char *key) {
    return strstr(key, "pullback") != NULL || strstr(key, "xxh3_128") != NULL;
}

bool data_name_ok(const char *name) {
    size_t size = 0;
    if (!data_utf8_ok(name)) return false;
    for (; name[size] != '\0'; size++) {
        if ((unsigned char)name[size] < ' ' || name[size] == 0x7f) return false;
    }
    return size > 0 && size <= DATA_NAME_MAX && strcmp(name, "__metadata__") != 0;
}
