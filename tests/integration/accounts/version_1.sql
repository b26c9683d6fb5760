BEGIN TRANSACTION;
CREATE TABLE instances (
	id TEXT NOT NULL,
	place TEXT,
	pid INTEGER NOT NULL,
	began_at DATETIME NOT NULL,
	beat_at DATETIME NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE keys (
	id TEXT NOT NULL,
	name TEXT NOT NULL,
	hash BLOB NOT NULL,
	sessions INTEGER,
	sessions_per_second INTEGER,
	audio_ms_per_day BIGINT,
	languages TEXT NOT NULL,
	expires_at DATETIME,
	created_at DATETIME NOT NULL,
	revoked_at DATETIME,
	PRIMARY KEY (id),
	UNIQUE (hash)
);
INSERT INTO "keys" VALUES('key_vyrm2ft3','ci',X'97DADA8675AFE9D1973B176C1CB43770C6B7A177700CAC5EE07E5197EB5AEEE9',NULL,NULL,7200000,'en',NULL,'2026-11-23 20:41:59.014341',NULL);
CREATE TABLE schema_version (
	version INTEGER NOT NULL
);
INSERT INTO "schema_version" VALUES(1);
CREATE TABLE session_days (
	session_id TEXT NOT NULL,
	day DATE NOT NULL,
	sessions INTEGER NOT NULL,
	audio_ms BIGINT NOT NULL,
	speech_ms BIGINT NOT NULL,
	turns INTEGER NOT NULL,
	finals INTEGER NOT NULL,
	failed INTEGER NOT NULL,
	errors INTEGER NOT NULL,
	PRIMARY KEY (session_id, day),
	FOREIGN KEY(session_id) REFERENCES sessions (id) ON DELETE CASCADE
);
INSERT INTO "session_days" VALUES('sess_1','2026-11-23',1,61250,30500,2,2,0,0);
CREATE TABLE session_languages (
	session_id TEXT NOT NULL,
	day DATE NOT NULL,
	language TEXT NOT NULL,
	turns INTEGER NOT NULL,
	speech_ms BIGINT NOT NULL,
	PRIMARY KEY (session_id, day, language),
	FOREIGN KEY(session_id) REFERENCES sessions (id) ON DELETE CASCADE
);
INSERT INTO "session_languages" VALUES('sess_1','2026-11-23','en',2,30500);
CREATE TABLE sessions (
	id TEXT NOT NULL,
	instance_id TEXT NOT NULL,
	key_id TEXT,
	key_name TEXT,
	endpoint TEXT NOT NULL,
	model TEXT NOT NULL,
	began_at DATETIME NOT NULL,
	seen_at DATETIME NOT NULL,
	ended_at DATETIME,
	audio_ms BIGINT NOT NULL,
	speech_ms BIGINT NOT NULL,
	turns INTEGER NOT NULL,
	finals INTEGER NOT NULL,
	failed INTEGER NOT NULL,
	errors INTEGER NOT NULL,
	close_code INTEGER,
	close_reason TEXT,
	price_per_second TEXT,
	currency TEXT,
	PRIMARY KEY (id)
);
INSERT INTO "sessions" VALUES('sess_1','srv_24406c271d5d47c8','key_vyrm2ft3','ci','realtime','qwen3-asr-flash-realtime','2026-11-23 12:00:00.000000','2026-11-23 12:00:00.000000','2026-11-23 12:00:00.000000',61250,30500,2,2,0,0,1000,'finished','0.00009','EUR');
CREATE INDEX sessions_by_key ON sessions (key_id, seen_at);
CREATE INDEX sessions_open ON sessions (ended_at);
CREATE INDEX session_days_by_day ON session_days (day);
CREATE INDEX session_languages_by_day ON session_languages (day);
COMMIT;
