/*
 * What is read out of texts. A reader of its own takes events from one topic, says of each text which label it has, and produces the event with
 * that as an attribute to another topic, which the node reads like any other. So what a text was taken for is said once, and is part of the
 * event: state stays a function of the events in Kafka, whatever the model has learned since, and a replay counts the same.
 */
#ifndef PIPELINE_TEXTS_H
#define PIPELINE_TEXTS_H

#include <freshet/ingest.h>
#include <freshet/intent.h>
#include <freshet/metrics.h>
#include <freshet/yaml.h>

#include <pthread.h>
#include <stdatomic.h>

enum { PIPELINE_TEXTS_MAX = 4 };

struct pipeline_cluster;
struct pipeline_config;

struct pipeline_text { /* of the configuration */
    const char *name; /* the attribute's key too */
    const char *from, *labelled, *to; /* topics */
    enum proto_format format; /* of the first two */
    const char *labels[LEARNER_LABELS_MAX];
    uint64_t actions; /* whose texts are read: bit a for enum Action a */
    double least; /* a label that is less likely is not given */
    struct learner_intent_options options;
};

/* texts_config.c: the section `texts`, told like all others in `diagnostics`. After kafka.topics are known. */
void pipeline_config__texts(struct fr_yaml *root, struct pipeline_config *config, struct fr_diagnostics *diagnostics);

/* ---- texts.c: the readers of a node ---- */

struct pipeline_texts;

/*
 * `config` and `metrics` outlive it. NULL where the configuration has no texts, or is a replica's, which passes nothing on. To be closed
 * after a failure too.
 */
FR_CHECKED bool pipeline_texts__open(const struct pipeline_config *config, struct fr_metrics *metrics,
                                     struct pipeline_texts **texts, struct fr_err *err);
/*
 * Starts reading; `brokers` outlive it, and so does `cluster`: NULL, or an instance that passes on what is in its partitions alone, once it
 * has released them. `cluster_id`: of an embedded broker, else NULL.
 */
FR_CHECKED bool pipeline_texts__start(struct pipeline_texts *texts, const struct pipeline_cluster *cluster, const char *brokers,
                                      const char *cluster_id, struct fr_err *err);
/*
 * Of an instance, around what changes its partitions; the group's thread. When hold returns nothing is passed on until it is released, and the
 * group's offsets are told.
 */
void pipeline_texts__hold(struct pipeline_texts *texts);
void pipeline_texts__release(struct pipeline_texts *texts);
void pipeline_texts__stop(struct pipeline_texts *texts); /* passes nothing on after it; NULL is fine in all of these */
void pipeline_texts__close(struct pipeline_texts *texts, int deadline_ms);

#endif
