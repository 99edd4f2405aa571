#include <freshet/message.h>

#include <freshet/v1/feature.pb-c.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { REPLIES = 3000 };

static struct fr_arena *arena;
static uint64_t state;

static uint64_t draw(void)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return state >> 33 ^ state << 31;
}

/* Of any length in bits, so that varints are of any length in bytes; 0 often. */
static uint64_t draw_number(void)
{
    uint64_t bits = draw() % 66;

    return bits < 2 ? 0 : draw() >> (65 - bits);
}

/* None, few, or so many that lengths take two and three bytes. */
static size_t draw_count(void)
{
    static const uint64_t most[] = {1, 4, 130, 6000};

    return draw() % most[draw() % 12 == 0 ? 3 : draw() % 3];
}

static void *take(size_t count, size_t bytes)
{
    void *taken = fr_arena_take_zeroed(arena, count + 1, bytes);

    assert_non_null(taken);
    return taken;
}

static char *draw_text(void)
{
    size_t length = draw() % 5 == 0 ? 0 : draw() % 200;
    char *text = take(length + 1, 1);

    for (size_t i = 0; i < length; i++)
        text[i] = (char)('a' + draw() % 26);
    return text;
}

static char **draw_texts(size_t *count)
{
    char **texts;

    *count = draw() % 20;
    texts = take(*count, sizeof *texts);
    for (size_t i = 0; i < *count; i++)
        texts[i] = draw_text();
    return texts;
}

static float *draw_floats(size_t *count)
{
    float *values;

    *count = draw_count();
    values = take(*count, sizeof *values);
    for (size_t i = 0; i < *count; i++)
        values[i] = draw() % 3 == 0 ? 0 : (float)draw() / 7;
    return values;
}

static uint64_t *draw_numbers(size_t *count)
{
    uint64_t *values;

    *count = draw_count();
    values = take(*count, sizeof *values);
    for (size_t i = 0; i < *count; i++)
        values[i] = draw_number();
    return values;
}

static Freshet__V1__Field **draw_fields(size_t *count)
{
    Freshet__V1__Field **fields;

    *count = draw() % 4;
    fields = take(*count, sizeof *fields);
    for (size_t i = 0; i < *count; i++) {
        fields[i] = take(1, sizeof *fields[i]);
        freshet__v1__field__init(fields[i]);
        fields[i]->name = draw_text();
        if (draw() % 2 == 0)
            fields[i]->ids = draw_numbers(&fields[i]->n_ids);
        if (draw() % 2 == 0)
            fields[i]->ints = (int64_t *)draw_numbers(&fields[i]->n_ints);
        if (draw() % 2 == 0)
            fields[i]->numbers = (double *)(void *)draw_numbers(&fields[i]->n_numbers);
    }
    return fields;
}

static Freshet__V1__Sequence **draw_sequences(size_t *count)
{
    Freshet__V1__Sequence **sequences;

    *count = draw() % 4;
    sequences = take(*count, sizeof *sequences);
    for (size_t i = 0; i < *count; i++) {
        sequences[i] = take(1, sizeof *sequences[i]);
        freshet__v1__sequence__init(sequences[i]);
        sequences[i]->name = draw_text();
        sequences[i]->key = draw_number();
        sequences[i]->n_rows = draw_count();
        sequences[i]->rows = take(sequences[i]->n_rows, sizeof *sequences[i]->rows);
        for (size_t row = 0; row < sequences[i]->n_rows; row++)
            sequences[i]->rows[row] = (uint32_t)draw_number();
        sequences[i]->fields = draw_fields(&sequences[i]->n_fields);
    }
    return sequences;
}

static Freshet__V1__PaddedSequence **draw_padded(size_t *count)
{
    Freshet__V1__PaddedSequence **padded;

    *count = draw() % 3;
    padded = take(*count, sizeof *padded);
    for (size_t i = 0; i < *count; i++) {
        Freshet__V1__PaddedSequence *one = padded[i] = take(1, sizeof *one);

        freshet__v1__padded_sequence__init(one);
        one->name = draw_text();
        one->length = (uint32_t)draw_number();
        one->n_item_rows = one->n_lengths = draw_count();
        one->item_rows = one->lengths = take(one->n_lengths, sizeof *one->lengths);
        for (size_t row = 0; row < one->n_lengths; row++)
            one->lengths[row] = (uint32_t)draw_number();
        one->keys = draw_numbers(&one->n_keys);
        one->n_mask = draw_count();
        one->mask = take(one->n_mask, sizeof *one->mask);
        for (size_t place = 0; place < one->n_mask; place++)
            one->mask[place] = draw() % 2 == 0;
        one->id_fields = draw_texts(&one->n_id_fields);
        one->ids = draw_numbers(&one->n_ids);
        one->int_fields = draw_texts(&one->n_int_fields);
        one->ints = (int64_t *)draw_numbers(&one->n_ints);
        one->number_fields = draw_texts(&one->n_number_fields);
        one->numbers = (double *)(void *)draw_numbers(&one->n_numbers);
    }
    return padded;
}

static void draw_response(Freshet__V1__GetFeaturesResponse *response)
{
    freshet__v1__get_features_response__init(response);
    response->request_id = draw_number();
    response->stream_time_ms = (int64_t)draw_number();
    response->applied_lag_ms = (int64_t)draw_number();
    response->user_columns = draw_texts(&response->n_user_columns);
    response->user_values = draw_floats(&response->n_user_values);
    response->user_present = draw() % 2 == 0;
    response->item_columns = draw_texts(&response->n_item_columns);
    response->item_values = draw_floats(&response->n_item_values);
    response->n_item_present = draw_count();
    response->item_present = take(response->n_item_present, sizeof *response->item_present);
    for (size_t i = 0; i < response->n_item_present; i++)
        response->item_present[i] = draw() % 2 == 0;
    response->item_fields = draw_fields(&response->n_item_fields);
    response->sequences = draw_sequences(&response->n_sequences);
    response->padded = draw_padded(&response->n_padded);
}

static void the_bytes_are_those_of_protobuf_c(void **test_state)
{
    struct fr_buffer ours, theirs;

    (void)test_state;
    fr_buffer_init(&ours);
    fr_buffer_init(&theirs);
    for (int i = 0; i < REPLIES; i++) {
        Freshet__V1__GetFeaturesResponse response;

        state = (uint64_t)i;
        fr_arena_reset(arena, 1 << 20);
        draw_response(&response);
        fr_buffer_clear(&ours);
        fr_buffer_clear(&theirs);
        if (i % 5 == 0)
            fr_buffer_fini(&ours); /* and grows anew */
        proto_features_pack(&response.base, &ours);
        proto_pack(&response.base, &theirs);
        if (!fr_slice_equal(fr_buffer_slice(&ours), fr_buffer_slice(&theirs)))
            fail_msg("reply %d: %zu bytes, protobuf-c makes %zu", i, ours.length, theirs.length);
    }
    fr_buffer_fini(&ours);
    fr_buffer_fini(&theirs);
}

static void it_appends(void **test_state)
{
    Freshet__V1__GetFeaturesResponse response;
    struct fr_buffer out;

    (void)test_state;
    fr_buffer_init(&out);
    fr_buffer_append_text(&out, "before");
    freshet__v1__get_features_response__init(&response);
    response.request_id = 7;
    proto_features_pack(&response.base, &out);
    assert_int_equal(out.length, 6 + 9);
    assert_memory_equal(out.bytes, "before\x09\7\0\0\0\0\0\0\0", 15);
    fr_buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_bytes_are_those_of_protobuf_c), cmocka_unit_test(it_appends)};
    int failed;

    arena = fr_arena_new(64 << 20);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    fr_arena_free(arena);
    return failed;
}
