package database

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// Pipeline is a row of the table pipelines: a definition that admins keep.
type Pipeline struct {
	Name       string    `gorm:"primaryKey"`
	Version    int64     // counts the changes, from 1
	Definition string    // JSON
	CreatedAt  time.Time `gorm:"autoCreateTime:false"`
	UpdatedAt  time.Time `gorm:"autoUpdateTime:false"`
}

// PipelineVersion is a row of the table pipeline_versions.
type PipelineVersion struct {
	Name       string `gorm:"primaryKey"`
	Version    int64  `gorm:"primaryKey;autoIncrement:false"`
	Definition string // JSON; empty: the pipeline was deleted
	ActorHash  string
	CreatedAt  time.Time `gorm:"autoCreateTime:false"`
}

// What is kept of a pipeline's earlier versions; the oldest go first. The size is
// for who reads them all: it bounds the answer.
const (
	maxPipelineVersions     = 100
	maxPipelineVersionsSize = 8 << 20 // characters of definitions
)

// pipelineBatch bounds the definitions that one query reads.
const pipelineBatch = 50

// ListPipelines gives all pipelines by name, without their definitions, which may
// be long: [DB.ReadPipelines] gives those.
func (db *DB) ListPipelines(ctx context.Context) ([]Pipeline, error) {
	var all []Pipeline
	err := db.gorm.WithContext(ctx).Select("name", "version", "created_at", "updated_at").Order("name").Find(&all).Error
	if err != nil {
		return nil, fmt.Errorf("list pipelines: %w", err)
	}
	normalizePipelines(all)
	return all, nil
}

// ReadPipelines gives those of these names that there are.
func (db *DB) ReadPipelines(ctx context.Context, names []string) ([]Pipeline, error) {
	var all []Pipeline
	for len(names) > 0 {
		n := min(len(names), pipelineBatch)
		var some []Pipeline
		if err := db.gorm.WithContext(ctx).Where("name IN ?", names[:n]).Find(&some).Error; err != nil {
			return nil, fmt.Errorf("read pipelines: %w", err)
		}
		all, names = append(all, some...), names[n:]
	}
	normalizePipelines(all)
	return all, nil
}

func normalizePipelines(all []Pipeline) {
	for i := range all {
		all[i].CreatedAt, all[i].UpdatedAt = all[i].CreatedAt.UTC(), all[i].UpdatedAt.UTC()
	}
}

// PipelinesRevision is a text that changes whenever a pipeline is added, changed
// or deleted; see [DB.SpecialistsRevision].
func (db *DB) PipelinesRevision(ctx context.Context) (string, error) {
	var revision struct {
		Revision, Count, Versions int64
		Latest                    string
	}
	err := db.gorm.WithContext(ctx).Model(&Pipeline{}).
		Select("(SELECT coalesce(max(revision), 0) FROM pipelines_revision) AS revision, count(*) AS count, " +
			"coalesce(sum(version), 0) AS versions, coalesce(CAST(max(updated_at) AS text), '') AS latest").
		Scan(&revision).Error
	if err != nil {
		return "", fmt.Errorf("look for changed pipelines: %w", err)
	}
	return fmt.Sprintf("%d/%d/%d/%s", revision.Revision, revision.Count, revision.Versions, revision.Latest), nil
}

// PipelineVersions gives the kept versions of a pipeline, newest first.
func (db *DB) PipelineVersions(ctx context.Context, name string) ([]PipelineVersion, error) {
	var versions []PipelineVersion
	err := db.gorm.WithContext(ctx).Where("name = ?", name).Order("version DESC").Find(&versions).Error
	if err != nil {
		return nil, fmt.Errorf("read versions of a pipeline: %w", err)
	}
	for i := range versions {
		versions[i].CreatedAt = versions[i].CreatedAt.UTC()
	}
	return versions, nil
}

// PipelineChange is what happened to one pipeline.
type PipelineChange struct {
	Was *Pipeline // as it was read in the same transaction; nil: it is new
	Is  *Pipeline // nil: it is gone
	// Version is what is kept of the change.
	Version PipelineVersion
	Audit   AuditEntry
}

// PipelinesTx reads and writes pipelines in one transaction.
type PipelinesTx struct {
	tx    *gorm.DB
	wrote bool
}

// ChangePipelines runs change in a transaction: all that it applies happens,
// together with its audit entries, or none of it. Such transactions run one after
// the other, also those of other replicas. The error of change is returned as it
// is.
func (db *DB) ChangePipelines(ctx context.Context, change func(*PipelinesTx) error) error {
	return db.inTurn(ctx, "pipelines", func(tx *gorm.DB) (bool, error) {
		t := &PipelinesTx{tx: tx}
		err := change(t)
		return t.wrote, err
	})
}

// Get gives one pipeline; [ErrNotFound] when there is none of that name.
func (t *PipelinesTx) Get(name string) (*Pipeline, error) {
	var p Pipeline
	err := t.tx.Where("name = ?", name).Take(&p).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, fmt.Errorf("pipeline %q: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read pipeline %q: %w", name, err)
	}
	p.CreatedAt, p.UpdatedAt = p.CreatedAt.UTC(), p.UpdatedAt.UTC()
	return &p, nil
}

// Count says how many pipelines there are.
func (t *PipelinesTx) Count() (int64, error) {
	var count int64
	if err := t.tx.Model(&Pipeline{}).Count(&count).Error; err != nil {
		return 0, fmt.Errorf("count pipelines: %w", err)
	}
	return count, nil
}

// Latest is the highest version that a pipeline ever had, also one that is gone;
// 0: there was none.
func (t *PipelinesTx) Latest(name string) (int64, error) {
	var latest int64
	err := t.tx.Model(&PipelineVersion{}).Where("name = ?", name).Select("coalesce(max(version), 0)").Scan(&latest).Error
	if err != nil {
		return 0, fmt.Errorf("read the latest version of pipeline %q: %w", name, err)
	}
	return latest, nil
}

// Version gives one kept version; [ErrNotFound] when there is none.
func (t *PipelinesTx) Version(name string, version int64) (*PipelineVersion, error) {
	var v PipelineVersion
	err := t.tx.Where("name = ? AND version = ?", name, version).Take(&v).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, fmt.Errorf("version %d of pipeline %q: %w", version, name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read version %d of pipeline %q: %w", version, name, err)
	}
	return &v, nil
}

// Apply writes a change, the version that is kept of it and its audit entry.
func (t *PipelinesTx) Apply(c PipelineChange) error {
	t.wrote = true
	if c.Was != nil {
		result := t.tx.Where("name = ? AND version = ?", c.Was.Name, c.Was.Version).Delete(&Pipeline{})
		if result.Error == nil && result.RowsAffected != 1 {
			result.Error = ErrNotFound // changed by hand in between
		}
		if result.Error != nil {
			return fmt.Errorf("replace pipeline %q: %w", c.Was.Name, result.Error)
		}
	}
	if c.Is != nil {
		row := *c.Is
		row.CreatedAt, row.UpdatedAt = stored(row.CreatedAt), stored(row.UpdatedAt)
		if err := t.tx.Create(&row).Error; err != nil {
			return fmt.Errorf("write pipeline %q: %w", row.Name, err)
		}
	}
	version := c.Version
	version.CreatedAt = stored(version.CreatedAt)
	if err := t.tx.Create(&version).Error; err != nil {
		return fmt.Errorf("keep version %d of pipeline %q: %w", version.Version, version.Name, err)
	}
	if err := t.forget(version.Name); err != nil {
		return err
	}
	return insertAudit(t.tx, c.Audit)
}

// forget drops the oldest versions of a pipeline that has too many of them.
func (t *PipelinesTx) forget(name string) error {
	var kept []struct{ Version, Size int64 }
	err := t.tx.Model(&PipelineVersion{}).Where("name = ?", name).Order("version DESC").Limit(maxPipelineVersions + 1).
		Select("version, length(definition) AS size").Scan(&kept).Error
	if err != nil {
		return fmt.Errorf("count versions of pipeline %q: %w", name, err)
	}
	var size int64
	for i, v := range kept {
		size += v.Size
		if i == 0 || i < maxPipelineVersions && size <= maxPipelineVersionsSize {
			continue
		}
		err := t.tx.Where("name = ? AND version <= ?", name, v.Version).Delete(&PipelineVersion{}).Error
		if err != nil {
			return fmt.Errorf("drop old versions of pipeline %q: %w", name, err)
		}
		return nil
	}
	return nil
}
