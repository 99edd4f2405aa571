/*
 * --map: what it may say, what is told of a mistake, and what a row becomes by it.
 */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <freshet/text.h>

enum { COLUMNS_MAX = 8 };

struct fixture {
    struct cli_map *map;
    struct cli_row_events row;
    struct fr_err err;
};

static int cut(const char *line, struct fr_slice fields[COLUMNS_MAX])
{
    int count = 0;

    for (;;) {
        size_t length = strcspn(line, ",");

        fields[count++] = fr_slice(line, length);
        if (line[length] == 0)
            return count;
        line += length + 1;
    }
}

static void open_map(struct fixture *fixture, const char *map, const char *header)
{
    struct fr_slice fields[COLUMNS_MAX];
    int count = cut(header, fields);

    *fixture = (struct fixture){0};
    if (!cli_map__parse(map, &fixture->map, &fixture->err) || !cli_map__bind(fixture->map, fields, count, &fixture->err))
        fail_msg("%s", fixture->err.message);
}

static enum cli_skip read_row(struct fixture *fixture, const char *line)
{
    struct fr_slice fields[COLUMNS_MAX];

    assert_int_equal(cut(line, fields), fixture->map->column_count);
    return cli_map__row(fixture->map, fields, &fixture->row, &fixture->err);
}

static void close_map(struct fixture *fixture)
{
    cli_map__free(fixture->map);
    fr_buffer_fini(&fixture->row.attributes);
}

/* What is told about a map that is wrong. */
static const char *mistake(const char *map)
{
    static struct fr_err err;
    struct cli_map *parsed;

    if (cli_map__parse(map, &parsed, &err)) {
        cli_map__free(parsed);
        return "none";
    }
    assert_int_equal(err.code, FR_BAD_CONFIG);
    return err.message;
}

static const char *header_mistake(const char *map, const char *header)
{
    static struct fr_err err;
    struct fr_slice fields[COLUMNS_MAX];
    int count = cut(header, fields);
    struct cli_map *parsed;
    bool is_good;

    assert_true(cli_map__parse(map, &parsed, &err));
    is_good = cli_map__bind(parsed, fields, count, &err);
    cli_map__free(parsed);
    return is_good ? "none" : err.message;
}

#define assert_has(text, part)                                                                                                 \
    do {                                                                                                                       \
        if (!strstr(text, part))                                                                                               \
            fail_msg("'%s' does not name '%s'", text, part);                                                                   \
    } while (0)

static void a_row_of_the_example_of_the_contract(void **state)
{
    struct fixture f;

    (void)state;
    open_map(&f, "timestamp:s=ts_ms,behavior_type=action(pv:click,cart:add_to_cart,fav:like,buy:purchase),'live'=scene",
             "user_id,item_id,category_id,behavior_type,timestamp");
    assert_int_equal(read_row(&f, "543462,1715,1464116,pv,1511658000"), CLI_SKIP_NONE);
    assert_int_equal(f.row.count, 1);
    assert_int_equal(f.row.actions[0], proto_action_number(fr_slice_of("click")));
    assert_int_equal(f.row.event.user_id, 543462);
    assert_int_equal(f.row.event.item_id, 1715);
    assert_int_equal(f.row.event.category_id, 1464116);
    assert_int_equal(f.row.event.ts_ms, 1511658000000);
    assert_int_equal(f.row.event.scene, proto_scene_number(fr_slice_of("live")));
    assert_int_equal(read_row(&f, "1,2,3,stare,1511658000"), CLI_SKIP_NO_ACTION);
    close_map(&f);
}

static void one_row_can_give_several_events(void **state)
{
    struct fixture f;

    (void)state;
    open_map(&f, "'watch'=action,is_like=action(1:like),label=action(1:share,0:dislike),play_ms:ms=value,len_us:us=duration_s",
             "ts_ms,is_like,label,play_ms,len_us");
    assert_int_equal(read_row(&f, "7,1,0,46186,1500000"), CLI_SKIP_NONE);
    assert_int_equal(f.row.count, 3);
    assert_int_equal(f.row.actions[0], proto_action_number(fr_slice_of("watch")));
    assert_int_equal(f.row.actions[1], proto_action_number(fr_slice_of("like")));
    assert_int_equal(f.row.actions[2], proto_action_number(fr_slice_of("dislike")));
    assert_true(f.row.event.value == 46.186 && f.row.event.duration_s == 1.5);
    assert_int_equal(read_row(&f, "7,0,2,1,1"), CLI_SKIP_NONE);
    assert_int_equal(f.row.count, 1);
    close_map(&f);
}

static void columns_called_like_fields_map_by_themselves(void **state)
{
    struct fixture f;

    (void)state;
    open_map(&f, NULL, "action,scene,ts_ms,user_id,text,position,propensity,other");
    assert_int_equal(read_row(&f, "WaTcH,Short_Video,12,joe,hello,3,0.25,x"), CLI_SKIP_NONE);
    assert_int_equal(f.row.actions[0], proto_action_number(fr_slice_of("watch")));
    assert_int_equal(f.row.event.scene, proto_scene_number(fr_slice_of("short_video")));
    assert_int_equal(f.row.event.user_id, fr_text_id(fr_slice_of("joe")));
    assert_true(fr_slice_is(f.row.event.text, "hello"));
    assert_int_equal(f.row.event.position, 3);
    assert_true(f.row.event.propensity == 0.25f);
    assert_int_equal(read_row(&f, "levitate,live,12,1,,,,x"), CLI_SKIP_NO_ACTION);
    assert_int_equal(read_row(&f, "watch,nowhere,12,,,,,x"), CLI_SKIP_NONE); /* empty is absent, an unknown scene is none */
    assert_int_equal(f.row.event.scene, 0);
    assert_int_equal(f.row.event.user_id, 0);
    close_map(&f);
}

static void what_is_mapped_explicitly_does_not_map_by_itself(void **state)
{
    struct fixture f;

    (void)state;
    open_map(&f, "user_id=item_id,buyer=user_id", "ts_ms,action,user_id,buyer");
    assert_int_equal(read_row(&f, "1,click,5,6"), CLI_SKIP_NONE);
    assert_int_equal(f.row.event.item_id, 5);
    assert_int_equal(f.row.event.user_id, 6);
    close_map(&f);
    open_map(&f, "at:s=ts_ms", "ts_ms,action,at");
    assert_int_equal(read_row(&f, "1,click,5"), CLI_SKIP_NONE);
    assert_int_equal(f.row.event.ts_ms, 5000);
    close_map(&f);
}

static void attributes_are_fields_too(void **state)
{
    struct fixture f;
    struct fr_slice value;

    (void)state;
    open_map(&f, "brand=attributes.brand,'web'=attributes.source", "ts_ms,action,brand,attributes.size");
    assert_int_equal(read_row(&f, "1,click,aqua,xl"), CLI_SKIP_NONE);
    f.row.event.wire = fr_buffer_slice(&f.row.attributes);
    assert_true(proto_event_attribute(&f.row.event, fr_slice_of("brand"), &value) && fr_slice_is(value, "aqua"));
    assert_true(proto_event_attribute(&f.row.event, fr_slice_of("source"), &value) && fr_slice_is(value, "web"));
    assert_true(proto_event_attribute(&f.row.event, fr_slice_of("size"), &value) && fr_slice_is(value, "xl"));
    assert_int_equal(read_row(&f, "1,click,\xff,xl"), CLI_SKIP_BAD_TEXT);
    close_map(&f);
}

static void values_of_other_fields_are_replaced_where_they_match(void **state)
{
    struct fixture f;

    (void)state;
    open_map(&f, "uid=user_id(NULL:0,anon:guest),place=scene(1:live,2:mall)", "ts_ms,action,uid,place");
    assert_int_equal(read_row(&f, "1,click,NULL,2"), CLI_SKIP_NONE);
    assert_int_equal(f.row.event.user_id, 0);
    assert_int_equal(f.row.event.scene, proto_scene_number(fr_slice_of("mall")));
    assert_int_equal(read_row(&f, "1,click,anon,4"), CLI_SKIP_NONE);
    assert_int_equal(f.row.event.user_id, fr_text_id(fr_slice_of("guest")));
    assert_int_equal(f.row.event.scene, 0); /* 4 is no scene of this file's coding */
    assert_int_equal(read_row(&f, "1,click,77,1"), CLI_SKIP_NONE);
    assert_int_equal(f.row.event.user_id, 77);
    close_map(&f);
}

static void names_with_special_characters_are_quoted(void **state)
{
    struct fixture f;
    struct fr_err err;
    struct fr_slice header[] = {fr_slice_of("a,b:c"), fr_slice_of("type"), fr_slice_of("when (UTC)")};
    struct fr_slice row[] = {fr_slice_of("9"), fr_slice_of("x,(y)"), fr_slice_of("2019-10-01 00:00:00")};

    (void)state;
    f = (struct fixture){0};
    assert_true(cli_map__parse(" \"a,b:c\" = item_id , type=action('x,(y)':buy_is_no_action)", &f.map, &err) == false);
    assert_true(cli_map__parse(" \"a,b:c\" = item_id , type=action( 'x,(y)' : purchase ), when (UTC):iso=ts_ms", &f.map, &err));
    assert_true(cli_map__bind(f.map, header, 3, &err));
    assert_int_equal(cli_map__row(f.map, row, &f.row, &err), CLI_SKIP_NONE);
    assert_int_equal(f.row.event.item_id, 9);
    assert_int_equal(f.row.event.ts_ms, 1569888000000);
    assert_int_equal(f.row.actions[0], proto_action_number(fr_slice_of("purchase")));
    close_map(&f);
}

static void a_mistake_names_the_place_and_the_mend(void **state)
{
    (void)state;
    assert_has(mistake("a=tsms"), "character 3");
    assert_has(mistake("a=tsms"), "did you mean ts_ms");
    assert_has(mistake("a:furlong=ts_ms"), "furlong");
    assert_has(mistake("a:furlong=ts_ms"), "character 3");
    assert_has(mistake("a=action(x:purchse)"), "did you mean purchase");
    assert_has(mistake("a=scene(x:lve)"), "did you mean live");
    assert_has(mistake("'purchse'=action"), "did you mean purchase");
    assert_has(mistake("a=action(x:click"), "never closed");
    assert_has(mistake("a=action(x)"), "':' is missing");
    assert_has(mistake("a=action(x:click)y"), "',' is wanted");
    assert_has(mistake("abc"), "'=' is missing");
    assert_has(mistake("=ts_ms"), "column's name is missing");
    assert_has(mistake("a="), "field's name is missing");
    assert_has(mistake("a:s=user_id"), "no such unit");
    assert_has(mistake("a:iso=value"), "no such unit");
    assert_has(mistake("a=attributes"), "attributes.NAME");
    assert_has(mistake("a=item_id,b=item_id"), "mapped twice");
    assert_has(mistake("'live=scene"), "never closed");
    assert_has(mistake("a=attributes.\xff"), "UTF-8");
    assert_string_equal(mistake("a=action(1:like),b=action(1:share),c=attributes.x,d=attributes.y"), "none");
}

static void a_column_that_is_not_there_is_named_with_the_nearest(void **state)
{
    (void)state;
    assert_has(header_mistake("timestmp:s=ts_ms", "timestamp,action"), "'timestmp'");
    assert_has(header_mistake("timestmp:s=ts_ms", "timestamp,action"), "did you mean timestamp");
    assert_has(header_mistake("", "time,action"), "ts_ms");
    assert_has(header_mistake("", "ts_ms,user_id"), "action");
    assert_string_equal(header_mistake("", "ts_ms,action"), "none");
}

static void bad_values_spoil_the_row_only(void **state)
{
    struct fixture f;

    (void)state;
    open_map(&f, "at:s=ts_ms", "at,action,value,position");
    assert_int_equal(read_row(&f, "soon,click,1,1"), CLI_SKIP_BAD_TIME);
    assert_has(f.err.message, "soon");
    assert_int_equal(read_row(&f, ",click,1,1"), CLI_SKIP_BAD_TIME);
    assert_int_equal(read_row(&f, "0,click,1,1"), CLI_SKIP_BAD_TIME);
    assert_int_equal(read_row(&f, "4102444800,click,1,1"), CLI_SKIP_BAD_TIME);
    assert_int_equal(read_row(&f, "1649581149287,click,1,1"), CLI_SKIP_BAD_TIME); /* milliseconds, not seconds */
    assert_int_equal(read_row(&f, "1,click,many,1"), CLI_SKIP_BAD_NUMBER);
    assert_int_equal(read_row(&f, "1,click,inf,1"), CLI_SKIP_BAD_NUMBER);
    assert_int_equal(read_row(&f, "1,click,1,-1"), CLI_SKIP_BAD_NUMBER);
    assert_int_equal(read_row(&f, "1,click,1,4294967296"), CLI_SKIP_BAD_NUMBER);
    assert_int_equal(read_row(&f, "1,click,,"), CLI_SKIP_NONE);
    close_map(&f);
}

static void an_id_of_a_row_is_a_hash_of_line_number_and_action(void **state)
{
    uint8_t bytes[] = {'a', ',', 'b', 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0};

    (void)state;
    assert_int_equal(cli_map__event_id(fr_slice_of("a,b"), 258, 3), fr_text_hash(bytes, sizeof bytes, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_of_the_example_of_the_contract),
        cmocka_unit_test(one_row_can_give_several_events),
        cmocka_unit_test(columns_called_like_fields_map_by_themselves),
        cmocka_unit_test(what_is_mapped_explicitly_does_not_map_by_itself),
        cmocka_unit_test(attributes_are_fields_too),
        cmocka_unit_test(values_of_other_fields_are_replaced_where_they_match),
        cmocka_unit_test(names_with_special_characters_are_quoted),
        cmocka_unit_test(a_mistake_names_the_place_and_the_mend),
        cmocka_unit_test(a_column_that_is_not_there_is_named_with_the_nearest),
        cmocka_unit_test(bad_values_spoil_the_row_only),
        cmocka_unit_test(an_id_of_a_row_is_a_hash_of_line_number_and_action),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
