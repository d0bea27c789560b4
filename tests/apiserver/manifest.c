/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * The directory of manifests. A file is taken whole or not at all: when its new content cannot be
 * read, the log says file and line, and what it held before stays served. Only differences reach
 * the store, so a rewritten but equal file causes no event, and objects that were changed over
 * REST stay as they are until their manifest changes.
 */
#include "manifest.h"

#include "standin.h"
#include "util.h"
#include "yaml_json.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

struct entry {
	struct table *table;
	char *ns;
	char *name;
	char *text; /* canonical, to see changes */
	json_t *root;
};

struct file {
	LIST_ENTRY(file) link;
	char *name;
	bool broken;
	struct entry *entries;
	size_t n;
};

struct manifests {
	struct standin *si;
	char *dir;
	int inotify;
	struct event *readable;
	LIST_HEAD(, file) files;
};

/* what is being read: a new version of a file */
struct reading {
	struct manifests *m;
	const char *path;
	const char *name;
	struct entry *entries;
	size_t n;
};

static void entries_free(struct entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(entries[i].ns);
		free(entries[i].name);
		free(entries[i].text);
		json_decref(entries[i].root);
	}
	free(entries);
}

static struct entry *find_entry(struct entry *entries, size_t n, const struct entry *like)
{
	for (size_t i = 0; i < n; i++)
		if (entries[i].table == like->table && !strcmp(entries[i].ns, like->ns) &&
			!strcmp(entries[i].name, like->name))
			return &entries[i];
	return NULL;
}

/* the other file that holds the object already */
static const struct file *other_owner(
	const struct manifests *m, const char *name, const struct entry *e)
{
	const struct file *f;

	LIST_FOREACH (f, &m->files, link) {
		if (strcmp(f->name, name) && find_entry(f->entries, f->n, e))
			return f;
	}
	return NULL;
}

static int check_entry(const struct reading *r, const struct entry *e, size_t line, char **error)
{
	const struct file *other;

	if (!*e->name || strchr(e->name, '/') || strchr(e->ns, '/')) {
		*error = xasprintf(
			"line %zu: metadata.name must be a non-empty string, without '/'", line);
		return -EINVAL;
	}
	if (find_entry(r->entries, r->n, e)) {
		*error = xasprintf("line %zu: %s \"%s\" is in this file twice", line,
			e->table->res->kind, e->name);
		return -EINVAL;
	}
	other = other_owner(r->m, r->name, e);
	if (other) {
		*error = xasprintf("line %zu: %s \"%s\" is in %s already", line,
			e->table->res->kind, e->name, other->name);
		return -EINVAL;
	}
	return 0;
}

static int take_object(struct reading *r, json_t *root, size_t line, char **error);

static int take_items(struct reading *r, const json_t *items, size_t line, char **error)
{
	json_t *item;
	size_t i;

	json_array_foreach (items, i, item) {
		int rc = take_object(r, item, line, error);

		if (rc)
			return rc;
	}
	return 0;
}

static int take_object(struct reading *r, json_t *root, size_t line, char **error)
{
	const json_t *meta = json_object_get(root, "metadata");
	const char *kind = jstr(root, "kind");
	size_t kind_len = strlen(kind);
	struct entry e = {0};
	int index;

	if (!*kind) {
		*error = xasprintf("line %zu: not an object with a kind", line);
		return -EINVAL;
	}
	if (kind_len >= 4 && !strcmp(kind + kind_len - 4, "List"))
		return take_items(r, json_object_get(root, "items"), line, error);
	index = resource_by_kind(jstr(root, "apiVersion"), kind);
	if (index < 0) {
		note("manifest file=%s line=%zu kind=%s apiVersion=%s skipped=\"not served here\"",
			r->path, line, kind, jstr(root, "apiVersion"));
		return 0;
	}
	e.table = &r->m->si->store.tables[index];
	e.name = xstrdup(jstr(meta, "name"));
	e.ns = xstrdup(e.table->res->namespaced ? jstr(meta, "namespace") : "");
	if (e.table->res->namespaced && !*e.ns) {
		free(e.ns);
		e.ns = xstrdup("default");
	}
	if (check_entry(r, &e, line, error)) {
		free(e.name);
		free(e.ns);
		return -EINVAL;
	}
	e.text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
	e.root = json_incref(root);
	r->entries = xrealloc(r->entries, (r->n + 1) * sizeof(e));
	r->entries[r->n++] = e;
	return 0;
}

static int on_document(void *arg, json_t *root, size_t line, char **error)
{
	return take_object(arg, root, line, error);
}

static int read_json(struct reading *r, const char *text, size_t len, char **error)
{
	json_error_t e;
	json_t *root = json_loadb(text, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &e);
	int rc;

	if (!root) {
		*error = xasprintf("line %d: %s", e.line, e.text);
		return -EINVAL;
	}
	rc = take_object(r, root, 1, error);
	json_decref(root);
	return rc;
}

static int slurp(const char *path, char **text, size_t *len)
{
	FILE *f = fopen(path, "r");
	char piece[16384];
	size_t n;

	*text = NULL;
	*len = 0;
	if (!f)
		return -errno;
	while ((n = fread(piece, 1, sizeof(piece), f))) {
		*text = xrealloc(*text, *len + n);
		memcpy(*text + *len, piece, n);
		*len += n;
	}
	n = (size_t)ferror(f);
	fclose(f);
	return n ? -EIO : 0;
}

static bool has_suffix(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n > m && !strcmp(s + n - m, suffix);
}

static bool is_manifest(const char *name)
{
	return *name != '.' &&
		(has_suffix(name, ".yaml") || has_suffix(name, ".yml") ||
			has_suffix(name, ".json"));
}

static struct file *file_by_name(struct manifests *m, const char *name, bool make)
{
	struct file *f;

	LIST_FOREACH (f, &m->files, link) {
		if (!strcmp(f->name, name))
			return f;
	}
	if (!make)
		return NULL;
	f = xcalloc(1, sizeof(*f));
	f->name = xstrdup(name);
	LIST_INSERT_HEAD(&m->files, f, link);
	return f;
}

static void store_entry(struct standin *si, const struct entry *e)
{
	struct object *former = store_find(e->table, e->ns, e->name);
	json_t *root = json_deep_copy(e->root);
	struct object *o;

	defaults_metadata(si, e->table, root, former);
	if (si->opt.manifest_defaults)
		defaults_spec(e->table, root, former);
	if (!object_from_json(e->table->res, root, &o))
		store_set(&si->store, e->table, o);
	json_decref(root);
}

/* brings the store from the file's old entries to the new ones, which it then owns */
static void exchange(struct manifests *m, struct file *f, struct entry *entries, size_t n)
{
	for (size_t i = 0; i < f->n; i++)
		if (!find_entry(entries, n, &f->entries[i]))
			store_delete(&m->si->store, f->entries[i].table, f->entries[i].ns,
				f->entries[i].name, NULL);
	for (size_t i = 0; i < n; i++) {
		const struct entry *old = find_entry(f->entries, f->n, &entries[i]);

		if (!old || strcmp(old->text, entries[i].text))
			store_entry(m->si, &entries[i]);
	}
	entries_free(f->entries, f->n);
	f->entries = entries;
	f->n = n;
}

static void load_file(struct manifests *m, const char *name)
{
	char *path = xasprintf("%s/%s", m->dir, name);
	struct reading r = {.m = m, .path = path, .name = name};
	struct file *f = file_by_name(m, name, true);
	char *text, *error = NULL;
	size_t len;
	int rc = slurp(path, &text, &len);

	if (rc)
		error = xstrdup(strerror(-rc));
	else if (has_suffix(name, ".json"))
		rc = read_json(&r, text, len, &error);
	else
		rc = yaml_each_document(text ? text : "", len, on_document, &r, &error);
	f->broken = rc;
	if (rc) {
		note("manifest file=%s error=\"%s\" kept=%zu", path, error, f->n);
		entries_free(r.entries, r.n);
	} else {
		exchange(m, f, r.entries, r.n);
		note("manifest file=%s objects=%zu", path, r.n);
	}
	free(error);
	free(text);
	free(path);
}

static void file_free(struct file *f)
{
	LIST_REMOVE(f, link);
	entries_free(f->entries, f->n);
	free(f->name);
	free(f);
}

static void drop_file(struct manifests *m, const char *name)
{
	struct file *f = file_by_name(m, name, false);

	if (!f)
		return;
	note("manifest file=%s/%s removed objects=%zu", m->dir, name, f->n);
	exchange(m, f, NULL, 0);
	file_free(f);
}

static void load_all(struct manifests *m)
{
	struct dirent **names;
	int n = scandir(m->dir, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		if (is_manifest(names[i]->d_name))
			load_file(m, names[i]->d_name);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

static bool is_link(const struct manifests *m, const char *name)
{
	char *path = xasprintf("%s/%s", m->dir, name);
	struct stat st;
	bool link = !lstat(path, &st) && S_ISLNK(st.st_mode);

	free(path);
	return link;
}

static void on_inotify(evutil_socket_t fd, short what, void *arg)
{
	struct manifests *m = arg;
	char buf[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)]
		__attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(fd, buf, sizeof(buf));

	(void)what;
	for (char *p = buf; n > 0 && p < buf + n;) {
		const struct inotify_event *e = (const struct inotify_event *)p;

		p += sizeof(*e) + e->len;
		if (e->mask & IN_Q_OVERFLOW)
			load_all(m);
		else if (!e->len || !is_manifest(e->name))
			continue;
		else if (e->mask & (IN_DELETE | IN_MOVED_FROM))
			drop_file(m, e->name);
		/* a new regular file says more when it is closed */
		else if (!(e->mask & IN_CREATE) || is_link(m, e->name))
			load_file(m, e->name);
	}
}

int manifests_open(struct standin *si, const char *dir, struct manifests **out)
{
	struct manifests *m = xcalloc(1, sizeof(*m));
	int rc;

	m->si = si;
	m->dir = xstrdup(dir);
	LIST_INIT(&m->files);
	m->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (m->inotify < 0 ||
		inotify_add_watch(m->inotify, dir,
			IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE |
				IN_ONLYDIR) < 0) {
		rc = -errno;
		note("manifests dir=%s error=\"%s\"", dir, strerror(errno));
		manifests_close(m);
		return rc;
	}
	m->readable = event_new(si->base, m->inotify, EV_READ | EV_PERSIST, on_inotify, m);
	event_add(m->readable, NULL);
	load_all(m);
	*out = m;
	return 0;
}

void manifests_close(struct manifests *m)
{
	struct file *f;

	if (!m)
		return;
	while ((f = LIST_FIRST(&m->files)))
		file_free(f);
	if (m->readable)
		event_free(m->readable);
	if (m->inotify >= 0)
		close(m->inotify);
	free(m->dir);
	free(m);
}

size_t manifests_broken(const struct manifests *m)
{
	const struct file *f;
	size_t n = 0;

	if (!m)
		return 0;
	LIST_FOREACH (f, &m->files, link)
		n += f->broken;
	return n;
}
