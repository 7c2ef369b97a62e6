// record.c -- appending nodes: operand checks, shapes, and hash-consing (an identical node is returned, not recorded).
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { MAX_OPERANDS = 4096, FIRST_TABLE = 1024 };

void ad_record_reset(ad_tape *t) {
    if (t->repeats && t->error.status == AD_OK) {  // kept, to be repeated
        if (t->old_nodes < t->n_nodes) t->old_nodes = t->n_nodes, t->old_stream = t->stream_size;
        if (t->old_slots < t->bind.n_slots) t->old_slots = t->bind.n_slots;
    } else {
        t->old_nodes = t->old_stream = t->old_slots = 0;
        if (t->table) memset(t->table, 0, t->table_room * sizeof *t->table);
        if (t->slot_table) memset(t->slot_table, 0, t->slot_table_room * sizeof *t->slot_table);
        ad_arena_reset(&t->constants);
    }
    t->stream_size = t->n_nodes = t->bind.n_slots = 0;
    t->repeats = true;
}

void ad_record_free(ad_tape *t) {
    free(t->stream);
    free(t->nodes);
    free(t->table);
    free(t->hashes);
    free(t->slot_table);
}

// ---- room ---------------------------------------------------------------------------------------------------------

static void table_insert(uint32_t *table, size_t room, uint32_t hash, uint32_t value) {
    size_t i = hash & (room - 1);
    while (table[i]) i = (i + 1) & (room - 1);
    table[i] = value;
}

// An empty open-addressing table of at least twice n entries, a power of two; NULL when out of memory.
static uint32_t *table_new(size_t n, size_t *room) {
    *room = FIRST_TABLE;
    while (*room < 2 * n) *room *= 2;
    return calloc(*room, sizeof(uint32_t));
}

// Room for one more node and its hash (not while the recording before is repeated), and for the given bytes of stream.
static bool make_room(ad_tape *t, size_t bytes, bool repeating) {
    if (!ad_grow(&t->stream, &t->stream_room, bytes, 1)) return false;
    if (repeating || t->n_nodes < t->room_nodes) return true;
    size_t want = t->room_nodes ? 2 * t->room_nodes : FIRST_TABLE / 2, room;
    if (want >= UINT32_MAX || t->stream_size / 8 > UINT32_MAX / 2) return false;
    uint32_t *table = table_new(want, &room);
    if (!table) return false;
    for (size_t i = 0; i < t->n_nodes; i++) table_insert(table, room, t->hashes[i], (uint32_t)i + 1);
    free(t->table);
    t->table = table, t->table_room = room;
    size_t nodes = t->room_nodes;
    if (!ad_grow(&t->hashes, &t->room_hashes, want, sizeof *t->hashes) || !ad_grow(&t->nodes, &nodes, want, sizeof *t->nodes))
        return false;
    t->room_nodes = nodes < t->room_hashes ? nodes : t->room_hashes;
    return true;
}

static uint32_t slot_hash(const ad_op *op, uint64_t key) {
    return (uint32_t)((((uint64_t)(uintptr_t)op >> 4) ^ key) * 0x9E3779B97F4A7C15u >> 32);
}

// Drops what the recording before had and this one does not repeat: from here on it is another program.
static void forget_rest(ad_tape *t) {
    if (t->old_nodes <= t->n_nodes && t->old_slots <= t->bind.n_slots) return;
    t->repeats = false;  // constants of dropped slots are freed by the next reset
    t->old_nodes = t->old_stream = t->old_slots = 0;
    memset(t->table, 0, t->table_room * sizeof *t->table);
    for (size_t i = 0; i < t->n_nodes; i++) table_insert(t->table, t->table_room, t->hashes[i], (uint32_t)i + 1);
    memset(t->slot_table, 0, t->slot_table_room * sizeof *t->slot_table);
    for (size_t i = 0; i < t->bind.n_slots; i++)
        table_insert(t->slot_table, t->slot_table_room, slot_hash(t->bind.slots[i].op, t->bind.slots[i].key), (uint32_t)i + 1);
}

static size_t record_bytes(uint32_t n, uint32_t attr_size) {
    return sizeof(ad_record) + (n + 1) / 2 * 8 + (attr_size + 7) / 8 * 8;
}

// ---- slots ----------------------------------------------------------------------------------------------------------

static bool slot_table_grow(ad_tape *t) {
    size_t n = t->bind.n_slots, room;
    if (2 * (n + 1) <= t->slot_table_room) return true;
    uint32_t *table = table_new(2 * n, &room);
    if (!table) return false;
    for (size_t i = 0; i < n; i++)
        table_insert(table, room, slot_hash(t->bind.slots[i].op, t->bind.slots[i].key), (uint32_t)i + 1);
    free(t->slot_table);
    t->slot_table = table, t->slot_table_room = room;
    return true;
}

// Number + 1 of the slot of (op, key), made when new; 0 when out of memory. Slots are numbered by first use, those of the
// recording before only as long as this one uses them in the same order.
static uint32_t slot_of(ad_tape *t, const ad_op *op, const void *bound, uint64_t key) {
    ad_binding *b = &t->bind;
    if (!slot_table_grow(t) || !ad_grow(&b->slots, &b->room_slots, b->n_slots + 1, sizeof *b->slots)) return 0;
    uint32_t hash = slot_hash(op, key), found = 0;
    size_t mask = t->slot_table_room - 1;
    for (size_t i = hash & mask; t->slot_table[i] && !found; i = (i + 1) & mask) {
        const ad_slot *s = &b->slots[t->slot_table[i] - 1];
        if (s->op == op && s->key == key) found = t->slot_table[i];
    }
    if (found && found <= b->n_slots) return found;
    if (found == b->n_slots + 1) return (uint32_t)++b->n_slots;
    forget_rest(t);
    b->slots[b->n_slots++] = (ad_slot){op, key, bound, UINT32_MAX};
    table_insert(t->slot_table, t->slot_table_room, hash, (uint32_t)b->n_slots);
    return (uint32_t)b->n_slots;
}

// ---- shapes and errors ----------------------------------------------------------------------------------------------

static void fail_shape(ad_tape *t, const ad_op *op, ad_status status, const char *why, const ad_var *x, int n) {
    char text[200] = "", one[64];
    size_t used = 0;
    for (int i = 0; i < n && i < 4 && used < sizeof text - 1; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s%s", i ? ", " : n ? "; operands " : "",
                                 ad_shape_print(ad_shape_of(x[i]), one, sizeof one), ad_has_rows(x[i]) ? " per row" : "");
    }
    ad_tape_fail(t, status, "%s: %s%s%s", op->name, why, text, n > 4 ? ", ..." : "");
}

// Dimension by dimension: shapes are written that way a moment before, and a wide load would wait for those stores.
static void copy_shape(ad_shape *to, const ad_shape *from) {
    memset(to, 0, sizeof *to);
    to->rank = from->rank;
    for (int i = 0; i < from->rank && i < AD_MAX_RANK; i++) to->dim[i] = from->dim[i];
}

static bool broadcast_all(ad_shape_call *c) {
    c->y = c->n ? c->x[0] : ad_shape0();
    for (int i = 1; i < c->n; i++)
        if (!ad_shape_broadcast(c->y, c->x[i], &c->y)) return ad_shape_fail(c, "shapes do not broadcast");
    return true;
}

// The result's shape, and its number of elements; -1 with the error on the tape.
static int64_t result_shape(ad_tape *t, const ad_op *op, const ad_var *x, int n, const void *attr, ad_shape *y) {
    ad_shape small[8] = {{0, {0}}};
    bool small_rows[8] = {false};
    ad_arena mark = ad_arena_mark(&t->scratch);
    ad_shape *shape = n <= 8 ? small : ad_arena_take(&t->scratch, (size_t)n * sizeof *shape);
    bool *rows = n <= 8 ? small_rows : ad_arena_take(&t->scratch, (size_t)n * sizeof *rows);
    if (!shape || !rows) {
        ad_tape_fail(t, AD_ENOMEM, "%s: out of memory", op->name);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        copy_shape(&shape[i], &t->nodes[x[i].id].shape);
        rows[i] = t->nodes[x[i].id].rows != 0;
    }
    ad_shape_call call;
    call.n = n, call.x = shape, call.rows = rows, call.attr = attr;  // message is written only on failure
    memset(&call.y, 0, sizeof call.y);
    call.message[0] = 0;
    bool ok = op->shape ? op->shape(&call) : broadcast_all(&call);
    int64_t count = ok ? ad_count_of(&call.y) : -1;
    if (ok && count < 0) ad_shape_fail(&call, "result too large or with a negative dimension");
    if (count < 0) fail_shape(t, op, AD_ESHAPE, call.message, x, n);
    copy_shape(y, &call.y);
    ad_arena_release(&t->scratch, mark);
    return count;
}

// ---- recording --------------------------------------------------------------------------------------------------------

// Shape and count of an elementwise result where it is the first operand's and no broadcasting is left to work out.
static bool elementwise_shape(const ad_tape *t, const ad_var *x, uint32_t n, ad_node *node) {
    const ad_node *first = &t->nodes[x[0].id];
    for (uint32_t i = 1; i < n; i++)
        if (!ad_same_shape(&first->shape, &t->nodes[x[i].id].shape)) return false;
    copy_shape(&node->shape, &first->shape);
    node->count = first->count;
    return true;
}

// A record's header in the words it is stored and hashed as.
typedef struct header {
    const ad_op *op;
    uint64_t bound, sizes;  // (rows, slot), (n, attr_size)
} header;
_Static_assert(sizeof(header) == sizeof(ad_record) && sizeof(void *) == 8, "a record's header is three words");

// Two 32-bit numbers side by side in memory.
static uint64_t pair(uint32_t first, uint32_t second) {
    const bool little_endian = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
    return little_endian ? (uint64_t)second << 32 | first : (uint64_t)first << 32 | second;
}
static uint32_t first_of(uint64_t v) { return (uint32_t)(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? v : v >> 32); }
static uint32_t second_of(uint64_t v) { return (uint32_t)(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? v >> 32 : v); }
static void word(char *p, uint64_t v) { memcpy(p, &v, sizeof v); }

static uint64_t word_at(const char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

// Writes header, operand ids and attributes, in words of 8 bytes, as the hash reads them at once: narrower stores would have
// to reach memory first.
static void write_record(char *p, const header *head, const ad_var *x, const void *attr) {
    uint32_t n = first_of(head->sizes), attr_size = second_of(head->sizes);
    word(p, (uint64_t)(uintptr_t)head->op);
    word(p + 8, head->bound);
    word(p + 16, head->sizes);
    p += sizeof *head;
    for (uint32_t i = 0; i < n; i += 2, p += 8) word(p, pair(x[i].id, i + 1 < n ? x[i + 1].id : 0));
    if (attr_size % 8) memset(p + attr_size / 8 * 8, 0, 8);
    if (attr_size) memcpy(p, attr, attr_size);
}

// Whether the record is the one that stands at p.
static bool equals(const char *p, const header *head, const ad_var *x, const void *attr) {
    uint32_t n = first_of(head->sizes), attr_size = second_of(head->sizes);
    bool same = word_at(p) == (uint64_t)(uintptr_t)head->op && word_at(p + 8) == head->bound && word_at(p + 16) == head->sizes;
    p += sizeof *head;
    for (uint32_t i = 0; i < n && same; i += 2, p += 8) same = word_at(p) == pair(x[i].id, i + 1 < n ? x[i + 1].id : 0);
    return same && (attr_size == 0 || memcmp(p, attr, attr_size) == 0);
}

// The node whose record equals the one written behind the stream, or UINT32_MAX; where it would stand in the table.
static uint32_t find(const ad_tape *t, uint32_t hash, const char *written, size_t bytes, size_t *at) {
    size_t mask = t->table_room - 1;
    for (*at = hash & mask; t->table[*at]; *at = (*at + 1) & mask) {
        uint32_t id = t->table[*at] - 1;
        if (t->hashes[id] == hash && memcmp(t->stream + (size_t)t->nodes[id].record * 8, written, bytes) == 0) return id;
    }
    return UINT32_MAX;
}

// A new node of the record at the stream's end.
static ad_var append(ad_tape *t, const header *head, const ad_var *x, uint32_t hash, size_t at, size_t bytes) {
    uint32_t n = first_of(head->sizes);
    ad_node *node = &t->nodes[t->n_nodes];
    node->op = head->op, node->record = (uint32_t)(t->stream_size / 8);
    node->rows = first_of(head->bound), node->slot = second_of(head->bound), node->n = n, node->scope = t->scope;
    if (!(head->op->flags & AD_OP_ELEMENTWISE) || head->op->shape || !elementwise_shape(t, x, n, node)) {
        int64_t count = result_shape(t, head->op, x, (int)n, ad_node_attr(t->stream, node), &node->shape);
        if (count < 0) return ad_inert(t);
        node->count = (int32_t)count;
    }
    t->hashes[t->n_nodes] = hash;
    t->table[at] = (uint32_t)++t->n_nodes;
    t->stream_size += bytes;
    t->appended++;
    t->ran = false;
    return ad_var_at(t, (uint32_t)t->n_nodes - 1);
}

// Whether the record is the next one of the recording before, and that one taken over.
static bool repeats_next(const ad_tape *t, const header *head, const ad_var *x, const void *attr) {
    return t->n_nodes < t->old_nodes && equals(t->stream + t->stream_size, head, x, attr);
}
static ad_var repeat_next(ad_tape *t, size_t bytes) {
    t->nodes[t->n_nodes++].scope = t->scope;
    t->stream_size += bytes;
    t->ran = false;
    return ad_var_at(t, (uint32_t)t->n_nodes - 1);
}

// The record as a node: the next one of the recording before, one recorded already, or a new one.
static ad_var record(ad_tape *t, const header *head, const ad_var *x, const void *attr) {
    size_t bytes = record_bytes(first_of(head->sizes), second_of(head->sizes)), at;
    if (repeats_next(t, head, x, attr)) return repeat_next(t, bytes);
    bool repeating = t->n_nodes < t->old_nodes;
    size_t end = repeating ? t->old_stream : t->stream_size;
    if (!make_room(t, end + bytes, repeating)) {
        ad_tape_fail(t, AD_ENOMEM, "%s: out of memory", head->op->name);
        return ad_inert(t);
    }
    write_record(t->stream + end, head, x, attr);
    uint32_t hash = (uint32_t)XXH3_64bits(t->stream + end, bytes), id = find(t, hash, t->stream + end, bytes, &at);
    if (id < t->n_nodes) return ad_var_at(t, id);
    if (!repeating) return append(t, head, x, hash, at, bytes);
    forget_rest(t);
    return record(t, head, x, attr);
}

// An operand of partial broadcast shape ([2,1] where [2,3] is needed) spread by a view: kernels take the full shape, or
// one element.
static ad_var spread_operand(ad_var v, ad_shape y) {
    const ad_node *node = ad_node_of(v);
    if (node->count == 1 || node->count == ad_shape_count(y)) return v;
    return ad_expand(v, y);
}

// Row set of the operands in *rows; false with the error reported.
static bool check_operands(ad_tape *t, const char *what, const ad_var *x, int n, uint32_t *rows) {
    *rows = 0;
    for (int i = 0; i < n; i++) {
        if (x[i].tape != t) {
            if (ad_is_none(x[i])) {
                ad_tape_fail(t, AD_EARG, "%s: operand %d is AD_NONE", what, i);
            } else {
                ad_tape_fail(t, AD_EMIX, "%s: operands 0 and %d are on different tapes", what, i);
                ad_tape_fail(x[i].tape, AD_EMIX, "%s: operands 0 and %d are on different tapes", what, i);
            }
            return false;
        }
        if (t->error.status != AD_OK || ((x[i].epoch != t->epoch || x[i].id >= t->n_nodes) && !ad_check_var(x[i], what)))
            return false;
        uint32_t r = t->nodes[x[i].id].rows;
        if (r && *rows && r != *rows) {
            ad_tape_fail(t, AD_EMIX, "%s: operands of two row sets, '%s' and '%s': they meet only through reductions", what,
                         t->bind.rows[*rows - 1].name, t->bind.rows[r - 1].name);
            return false;
        }
        if (r) *rows = r;
    }
    return true;
}

bool ad_check_vars(const ad_var *x, int n, const char *what) {
    ad_tape *t = NULL;
    uint32_t rows;
    for (int i = 0; i < n && !t; i++) t = x[i].tape;
    return t && check_operands(t, what, x, n, &rows);
}

// Whether this is the next record of the recording before, which passed all checks then.
static bool repeats(const ad_tape *t, const ad_op *op, const ad_var *x, int n, const void *attr, size_t attr_size,
                    uint32_t force_rows) {
    if (t->n_nodes >= t->old_nodes || t->error.status != AD_OK) return false;
    const char *p = t->stream + t->stream_size;
    const ad_record *r = (const ad_record *)(const void *)p;
    if (r->op != op || r->n != (uint32_t)n || r->attr_size != attr_size || r->slot) return false;
    const uint32_t *in = (const uint32_t *)(const void *)(r + 1);
    uint32_t rows = force_rows;
    for (int i = 0; i < n; i++) {
        if (x[i].id != in[i] || x[i].tape != t || x[i].epoch != t->epoch) return false;
        if (!rows) rows = t->nodes[in[i]].rows;
    }
    if (r->rows != (op->flags & AD_OP_REDUCES_ROWS ? 0 : rows)) return false;
    return attr_size == 0 || memcmp(p + sizeof *r + (size_t)(n + 1) / 2 * 8, attr, attr_size) == 0;
}

static ad_var apply_anew(const ad_op *op, ad_tape *t, const ad_var *x, int n, const void *attr, size_t attr_size,
                         uint32_t force_rows) {
    uint32_t rows;
    if (!check_operands(t, op->name, x, n, &rows)) return ad_inert(t);
    if (force_rows) rows = force_rows;
    if ((op->flags & AD_OP_REDUCES_ROWS) && !rows) {
        fail_shape(t, op, AD_EARG, "no operand has rows to reduce", x, n);
        return ad_inert(t);
    }
    header head = {op, pair(op->flags & AD_OP_REDUCES_ROWS ? 0 : rows, 0), pair((uint32_t)n, (uint32_t)attr_size)};
    ad_var spread[8];
    if ((op->flags & AD_OP_ELEMENTWISE) && n > 1) {
        ad_shape y;
        if (n > 8) {
            ad_tape_fail(t, AD_EARG, "%s: %d operands; elementwise ops take at most 8", op->name, n);
            return ad_inert(t);
        }
        bool same = true;
        for (int i = 1; i < n; i++) same = same && ad_same_shape(&t->nodes[x[0].id].shape, &t->nodes[x[i].id].shape);
        if (!same) {
            if (result_shape(t, op, x, n, attr, &y) < 0) return ad_inert(t);
            for (int i = 0; i < n; i++) spread[i] = spread_operand(x[i], y);
            if (t->error.status != AD_OK) return ad_inert(t);
            x = spread;
        }
    }
    return record(t, &head, x, attr);
}

static inline ad_var apply(const ad_op *op, ad_tape *t, const ad_var *x, int n, const void *attr, size_t attr_size,
                           uint32_t force_rows) {
    if (repeats(t, op, x, n, attr, attr_size, force_rows))
        return repeat_next(t, record_bytes((uint32_t)n, (uint32_t)attr_size));
    return apply_anew(op, t, x, n, attr, attr_size, force_rows);
}

ad_var ad_apply(const ad_op *op, const ad_var *x, int n, const void *attr, size_t attr_size) {
    ad_tape *t = NULL;
    for (int i = 0; i < n && !t; i++) t = x[i].tape;
    if (!t) return ad_none();
    if (n > MAX_OPERANDS || attr_size > 65536 * sizeof(ad_view_attr)) {
        ad_tape_fail(t, AD_EARG, "%s: %d operands, %zu bytes of attributes: too many", op->name, n, attr_size);
        return ad_inert(t);
    }
    return apply(op, t, x, n, attr, attr_size, 0);
}

static bool check_rows(ad_tape *t, ad_rows rows, const ad_op *op) {
    if (!rows.tape || (rows.tape == t && rows.epoch == t->epoch && rows.id < t->bind.n_rows)) return true;
    ad_tape_fail(t, rows.tape != t ? AD_EMIX : AD_ESTALE, "%s: a row set of another tape, or made before its last reset",
                 op->name);
    return false;
}

ad_var ad_apply_rows(const ad_op *op, ad_tape *t, ad_rows rows, const ad_var *x, int n, const void *attr,
                     size_t attr_size) {
    if (!t) return ad_none();
    if (t->error.status != AD_OK || !check_rows(t, rows, op)) return ad_inert(t);
    return apply(op, t, x, n, attr, attr_size, rows.tape ? rows.id + 1 : 0);
}

ad_var ad_record_leaf_key(ad_tape *t, ad_rows rows, const ad_op *op, const void *attr, size_t attr_size,
                          const void *bound, uint64_t key) {
    if (!t) return ad_none();
    if (t->error.status != AD_OK) return ad_inert(t);
    if (!check_rows(t, rows, op)) return ad_inert(t);
    uint32_t slot = 0;
    if ((bound || key) && !(slot = slot_of(t, op, bound, key))) {
        ad_tape_fail(t, AD_ENOMEM, "%s: out of memory", op->name);
        return ad_inert(t);
    }
    header head = {op, pair(rows.tape ? rows.id + 1 : 0, slot), pair(0, (uint32_t)attr_size)};
    if (!slot) return record(t, &head, NULL, attr);
    uint32_t node = t->bind.slots[slot - 1].node;  // a leaf used again is found without hashing
    if (node < t->n_nodes && equals(t->stream + (size_t)t->nodes[node].record * 8, &head, NULL, attr)) return ad_var_at(t, node);
    ad_var v = record(t, &head, NULL, attr);
    t->bind.slots[slot - 1].node = v.id;
    return v;
}

ad_var ad_record_leaf(ad_tape *t, ad_rows rows, const ad_op *op, const void *attr, size_t attr_size, const void *bound) {
    return ad_record_leaf_key(t, rows, op, attr, attr_size, bound, (uint64_t)(uintptr_t)bound);
}
