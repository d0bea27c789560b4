/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Packets from text and to text (see text.h). Kept apart from text_wire.c, which knows the bytes.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packet/text.h"

static const char *const kind_names[TEXT_KINDS] = {
	[TEXT_TCP] = "tcp",
	[TEXT_UDP] = "udp",
	[TEXT_SCTP] = "sctp",
	[TEXT_ECHO] = "echo",
	[TEXT_ECHO_REPLY] = "echo-reply",
	[TEXT_ERROR] = "error",
	[TEXT_ARP_REQUEST] = "arp-request",
	[TEXT_ARP_REPLY] = "arp-reply",
	[TEXT_SOLICIT] = "solicit",
	[TEXT_ADVERTISE] = "advertise",
	[TEXT_FRAGMENT] = "fragment",
};

static const char flag_letters[] = "FSRPAU";

bool text_mac(const char *text, uint8_t mac[6])
{
	return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
		       &mac[4], &mac[5]) == 6;
}

/* "a.b.c.d:port", "[v6]:port", either without a port; a port may be "$name" or "*". */
static bool parse_endpoint(char *text, struct ip_addr *addr, uint16_t *port, char var[16])
{
	char *colon = NULL;

	if (text[0] == '[') {
		char *close = strchr(text, ']');

		if (close == NULL)
			return false;
		*close = '\0';
		if (close[1] == ':')
			colon = close + 1;
		text++;
	} else if (strchr(text, '.') != NULL) {
		colon = strchr(text, ':');
	}
	if (colon != NULL) {
		*colon = '\0';
		if (colon[1] == '$' || colon[1] == '*')
			snprintf(var, 16, "%s", colon + 1);
		else
			*port = (uint16_t)atoi(colon + 1);
	}
	return ip_parse(text, addr) == 0;
}

static bool parse_flags(const char *word, uint8_t *flags)
{
	*flags = 0;
	for (; *word != '\0'; word++) {
		const char *at = strchr(flag_letters, *word);

		if (at == NULL)
			return false;
		*flags |= (uint8_t)(1u << (at - flag_letters));
	}
	return true;
}

static bool parse_option(struct text_packet *p, const char *word)
{
	const char *value = strchr(word, '=');

	value = value == NULL ? "" : value + 1;
	if (strncmp(word, "ttl=", 4) == 0) {
		p->ttl = (uint8_t)atoi(value);
		p->has |= HAS_TTL;
	} else if (strncmp(word, "len=", 4) == 0) {
		p->len = (uint16_t)atoi(value);
		p->has |= HAS_LEN;
	} else if (strncmp(word, "id=", 3) == 0 &&
		(p->kind == TEXT_ECHO || p->kind == TEXT_ECHO_REPLY)) {
		if (value[0] == '$' || value[0] == '*')
			snprintf(p->sport_var, sizeof(p->sport_var), "%s", value);
		else
			p->sport = p->dport = (uint16_t)atoi(value);
	} else if (strncmp(word, "id=", 3) == 0) {
		p->ip_id = (uint32_t)strtoul(value, NULL, 0);
		p->has |= HAS_ID;
	} else if (strncmp(word, "frag=", 5) == 0) {
		p->frag_off = (uint16_t)atoi(value);
		p->more = strchr(value, '+') != NULL;
		p->has |= HAS_FRAG;
	} else if (strncmp(word, "mtu=", 4) == 0) {
		p->mtu = (uint16_t)atoi(value);
		p->has |= HAS_MTU;
	} else if (strncmp(word, "smac=", 5) == 0) {
		p->has |= HAS_SMAC;
		return text_mac(value, p->smac);
	} else if (strncmp(word, "dmac=", 5) == 0) {
		p->has |= HAS_DMAC;
		return text_mac(value, p->dmac);
	} else if (strcmp(word, "df") == 0) {
		p->df = true;
		p->has |= HAS_DF;
	} else if (strcmp(word, "nocsum") == 0) {
		p->nocsum = true;
		p->has |= HAS_NOCSUM;
	} else {
		p->has |= HAS_FLAGS;
		return parse_flags(word, &p->flags);
	}
	return true;
}

/* "TARGET from SRC", "ADDR at MAC to DST" */
static bool parse_neighbour(struct text_packet *p, char **save)
{
	bool request = p->kind == TEXT_ARP_REQUEST || p->kind == TEXT_SOLICIT;
	char *target = strtok_r(NULL, " ", save);
	char *word, *value;

	if (target == NULL || ip_parse(target, &p->dst) < 0)
		return false;
	while ((word = strtok_r(NULL, " ", save)) != NULL) {
		if (strchr(word, '=') != NULL) {
			if (!parse_option(p, word))
				return false;
			continue;
		}
		value = strtok_r(NULL, " ", save);
		if (value == NULL)
			return false;
		if (strcmp(word, "at") == 0) {
			p->has |= HAS_MAC;
			if (!text_mac(value, p->mac))
				return false;
		} else if (strcmp(word, "from") == 0 || strcmp(word, "to") == 0) {
			p->has |= HAS_SRC;
			if (ip_parse(value, &p->src) < 0)
				return false;
		} else {
			return false;
		}
	}
	return !request || (p->has & HAS_SRC) != 0;
}

static bool parse_ip(struct text_packet *p, char **save)
{
	char *src = strtok_r(NULL, " ", save);
	char *arrow = strtok_r(NULL, " ", save);
	char *dst = strtok_r(NULL, " ", save);
	char *word;

	if (src == NULL || arrow == NULL || dst == NULL || strcmp(arrow, ">") != 0)
		return false;
	if (strcmp(src, "*") != 0) {
		p->has |= HAS_SRC;
		if (!parse_endpoint(src, &p->src, &p->sport, p->sport_var))
			return false;
	}
	if (strcmp(dst, "*") != 0) {
		p->has |= HAS_DST;
		if (!parse_endpoint(dst, &p->dst, &p->dport, p->dport_var))
			return false;
	}
	while ((word = strtok_r(NULL, " ", save)) != NULL)
		if (!parse_option(p, word))
			return false;
	return true;
}

int text_parse(const char *line, struct text_packet *out, char *err, size_t room)
{
	char copy[512], inner[512] = "";
	char *save = NULL, *word, *open;
	bool ok;

	memset(out, 0, sizeof(*out));
	snprintf(copy, sizeof(copy), "%s", line);
	open = strchr(copy, '(');
	if (open != NULL) {
		char *about = strstr(copy, " about ");
		char *close = strrchr(copy, ')');

		if (about == NULL || close == NULL)
			goto bad;
		*close = '\0';
		snprintf(inner, sizeof(inner), "%s", open + 1);
		*about = '\0';
	}
	word = strtok_r(copy, " ", &save);
	out->kind = TEXT_KINDS;
	for (int k = 0; word != NULL && k < TEXT_KINDS; k++)
		if (strcmp(word, kind_names[k]) == 0)
			out->kind = (enum text_kind)k;
	if (out->kind == TEXT_KINDS)
		goto bad;
	if (out->kind == TEXT_ERROR) {
		word = strtok_r(NULL, " ", &save);
		if (word == NULL || sscanf(word, "%hhu/%hhu", &out->type, &out->code) != 2)
			goto bad;
	}
	if (out->kind >= TEXT_ARP_REQUEST && out->kind <= TEXT_ADVERTISE)
		ok = parse_neighbour(out, &save);
	else
		ok = parse_ip(out, &save);
	if (!ok)
		goto bad;
	if (inner[0] != '\0') {
		out->about = calloc(1, sizeof(*out->about));
		if (out->about == NULL || text_parse(inner, out->about, err, room) < 0)
			return -EINVAL;
		out->quoted = true;
	}
	return 0;
bad:
	snprintf(err, room, "not a packet: %s", line);
	return -EINVAL;
}

void text_free(struct text_packet *p)
{
	if (p->about != NULL) {
		text_free(p->about);
		free(p->about);
		p->about = NULL;
	}
}

void text_show(const struct text_packet *p, char *buf, size_t room)
{
	char src[IP_TEXT_MAX], dst[IP_TEXT_MAX], flags[8];
	int n, f = 0;

	for (int bit = 0; bit < 6; bit++)
		if ((p->flags & 1u << bit) != 0)
			flags[f++] = flag_letters[bit];
	flags[f] = '\0';
	n = snprintf(buf, room,
		"%s %u/%u [%s]:%u > [%s]:%u %s ttl=%u len=%u id=%u frag=%u%s%s mtu=%u",
		kind_names[p->kind], p->type, p->code, ip_format(&p->src, src), p->sport,
		ip_format(&p->dst, dst), p->dport, flags, p->ttl, p->len, p->ip_id, p->frag_off,
		p->more ? "+" : "", p->df ? " df" : "", p->mtu);
	if (p->about != NULL && n > 0 && (size_t)n < room) {
		char inner[300];

		text_show(p->about, inner, sizeof(inner));
		snprintf(buf + n, room - (size_t)n, " about (%s)", inner);
	}
}
